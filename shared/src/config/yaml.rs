//! Reads YAML into nodes that know their lines.
//!
//! One document; keys are text and unique; anchors, aliases and the merge key `<<` work. How much
//! aliases may multiply, and how deep values may stand in each other, is bounded.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::node::{Data, Entry, Node, Place};
use super::scalar;

/// Nodes of one document, with all copies that aliases make.
const MAX_NODES: usize = 200_000;
/// Lists and maps within each other.
const MAX_DEPTH: usize = 100;

/// Why a text is not one YAML document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// Reads the one document in `text`; an empty text is null. `source` becomes the
/// [`Place::source`] of all its nodes.
///
/// # Errors
/// [`YamlError`], whose text is fit for a user.
pub fn parse(text: &str, source: usize) -> Result<Node, YamlError> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        source,
        anchors: HashMap::new(),
        nodes: 0,
        line: 1,
    };
    let mut document = None;
    loop {
        match reader.next()? {
            Event::StreamEnd => break,
            Event::DocumentStart(_) if document.is_some() => {
                return Err(reader.error("a second document begins here, only one is read"));
            }
            Event::DocumentStart(_) => {
                let first = reader.next()?;
                document = Some(reader.value(first, 0)?);
            }
            _ => {}
        }
    }
    Ok(document.unwrap_or_else(|| reader.node(Data::Null)))
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    source: usize,
    /// Finished values that have an anchor, by the parser's number for it.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// Line of the event that was read last.
    line: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Event<'t>, YamlError> {
        match self.events.next_event() {
            Some(Ok((event, Span { start, .. }))) => {
                self.line = start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                let line = error.marker().line();
                Err(YamlError { line, message: format!("invalid YAML: {}", error.info()) })
            }
            None => Ok(Event::StreamEnd),
        }
    }

    fn error(&self, message: impl Into<String>) -> YamlError {
        YamlError { line: self.line, message: message.into() }
    }

    fn place(&self) -> Place {
        Place { source: self.source, line: self.line }
    }

    fn node(&self, data: Data) -> Node {
        Node { place: self.place(), ..Node::new(data) }
    }

    fn count(&mut self, nodes: usize) -> Result<(), YamlError> {
        self.nodes += nodes;
        match self.nodes > MAX_NODES {
            true => Err(self.error(format!("the document has more than {MAX_NODES} values"))),
            false => Ok(()),
        }
    }

    /// The value that begins with `event`.
    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<Node, YamlError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("values are nested more than {MAX_DEPTH} deep")));
        }
        self.count(1)?;
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(&text, style, tag.as_ref())?)
            }
            Event::SequenceStart(anchor, tag) => {
                self.container_tag(tag.as_ref(), "seq")?;
                (anchor, self.list(depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.container_tag(tag.as_ref(), "map")?;
                (anchor, self.map(depth)?)
            }
            _ => return Err(self.error("a value is missing")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize) -> Result<Node, YamlError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.error("an alias within its own value"));
        };
        self.count(size(&node))?;
        Ok(node)
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Cow<'t, Tag>>,
    ) -> Result<Node, YamlError> {
        let resolved = match style {
            ScalarStyle::Plain => scalar::resolve(text),
            _ => Data::String(text.to_owned()),
        };
        let Some(tag) = tag else { return Ok(self.with_text(resolved, text)) };
        let suffix = match tag.is_yaml_core_schema() {
            true => tag.suffix.as_str(),
            false if tag.handle.is_empty() && tag.suffix == "!" => "str",
            false => return Err(self.error(format!("the tag {tag} is not known"))),
        };
        let data = match (suffix, scalar::resolve(text)) {
            ("str", _) => Data::String(text.to_owned()),
            ("int", data @ Data::Int(_))
            | ("bool", data @ Data::Bool(_))
            | ("null", data @ Data::Null)
            | ("float", data @ Data::Float(_)) => data,
            #[allow(clippy::cast_precision_loss, reason = "the author asked for a float")]
            ("float", Data::Int(value)) => Data::Float(value as f64),
            _ => return Err(self.error(format!("\"{text}\" is not a !!{suffix}"))),
        };
        Ok(self.with_text(data, text))
    }

    /// A scalar; those that are not text keep the text they were written as.
    fn with_text(&self, data: Data, text: &str) -> Node {
        let text = match data {
            Data::Null | Data::String(_) => None,
            _ => Some(text.to_owned()),
        };
        Node { text, ..self.node(data) }
    }

    fn container_tag(&self, tag: Option<&Cow<'t, Tag>>, expected: &str) -> Result<(), YamlError> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
                Err(self.error(format!("the tag {tag} does not fit here")))
            }
            _ => Ok(()),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node, YamlError> {
        let mut list = self.node(Data::Null);
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => break,
                event => items.push(self.value(event, depth + 1)?),
            }
        }
        list.data = Data::List(items);
        Ok(list)
    }

    fn map(&mut self, depth: usize) -> Result<Node, YamlError> {
        let mut map = self.node(Data::Null);
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut merged = Vec::new();
        loop {
            let (key, is_plain) = match self.next()? {
                Event::MappingEnd => break,
                Event::Scalar(key, style, _, _) => (key.into_owned(), style == ScalarStyle::Plain),
                _ => return Err(self.error("a key must be text")),
            };
            let place = self.place();
            let event = self.next()?;
            let mut value = self.value(event, depth + 1)?;
            if key == "<<" && is_plain {
                merged.push((place.line, value));
                continue;
            }
            if let Some(line) = lines.insert(key.clone(), place.line) {
                let message = format!("the key \"{key}\" is already defined at line {line}");
                return Err(YamlError { line: place.line, message });
            }
            if value.is_null() {
                // An absent value has no line of its own.
                value.place = place;
            }
            entries.push(Entry { key, place, value });
        }
        for (line, value) in merged {
            let message = || "<< takes a map or a list of maps".to_owned();
            merge_key(&mut entries, value).ok_or_else(|| YamlError { line, message: message() })?;
        }
        map.data = Data::Map(entries);
        Ok(map)
    }
}

/// Adds what `<<: value` brings and is not there yet; `None` if it is no map.
fn merge_key(entries: &mut Vec<Entry>, value: Node) -> Option<()> {
    let maps = match value.data {
        Data::List(maps) => maps,
        _ => vec![value],
    };
    for map in maps {
        let Data::Map(more) = map.data else { return None };
        for entry in more {
            if entries.iter().all(|known| known.key != entry.key) {
                entries.push(entry);
            }
        }
    }
    Some(())
}

fn size(node: &Node) -> usize {
    match &node.data {
        Data::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Data::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.value)).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::print;

    /// Reads and prints again in one line.
    #[track_caller]
    fn check(text: &str, json: &str) {
        let node = parse(text, 0).unwrap_or_else(|error| panic!("{}: {error}", error.line));
        assert_eq!(print::json_line(&node), json);
    }

    #[track_caller]
    fn check_error(text: &str, line: usize, start: &str) {
        let error = parse(text, 0).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.starts_with(start), "{error}");
    }

    #[test]
    fn plain_scalars_have_types_and_quoted_ones_are_text() {
        check("a: 1\nb: '1'\nc: \"true\"\nd: true\ne:\nf: !!str 7", {
            r#"{"a":1,"b":"1","c":"true","d":true,"e":null,"f":"7"}"#
        });
        check("- |\n  two\n  lines\n- >\n  one\n  line\n", r#"["two\nlines\n","one line\n"]"#);
        check("", "null");
        check("# only a comment\n", "null");
    }

    #[test]
    fn scalars_keep_the_text_they_were_written_as() {
        let node = parse("code: 0123", 0).unwrap();
        let code = node.get("code").unwrap();
        assert_eq!((code.data.clone(), code.text.as_deref()), (Data::Int(83), Some("0123")));
    }

    #[test]
    fn values_know_their_lines() {
        let node = parse("a:\n  b: 1\n  c:\n  - x\n  - y\n", 3).unwrap();
        let inner = &node.entries()[0].value;
        assert_eq!(inner.entries()[1].place, Place { source: 3, line: 3 });
        let Data::List(items) = &inner.get("c").unwrap().data else { panic!("a list") };
        assert_eq!(items[1].place.line, 5);
    }

    #[test]
    fn aliases_and_merge_keys_are_copies() {
        check("a: &a {x: 1, y: 2}\nb: *a\nc:\n  <<: *a\n  y: 3\n", {
            r#"{"a":{"x":1,"y":2},"b":{"x":1,"y":2},"c":{"y":3,"x":1}}"#
        });
        check("a: &a {x: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b]}\n", {
            r#"{"a":{"x":1},"b":{"x":2,"z":2},"c":{"x":1,"z":2}}"#
        });
        check_error("a: 1\nb: {<<: 5}\n", 2, "<< takes a map");
    }

    #[test]
    fn aliases_cannot_multiply_without_bound() {
        let nine_times_the_last = |level: usize| {
            let item = level.checked_sub(1).map_or("x, ".to_owned(), |last| format!("*a{last}, "));
            format!("a{level}: &a{level} [{}]\n", item.repeat(9))
        };
        let text: String = (0..12).map(nine_times_the_last).collect();
        check_error(&text, 6, "the document has more than 200000 values");
    }

    #[test]
    fn values_cannot_nest_without_bound() {
        check_error(&"[".repeat(150), 1, "values are nested more than 100 deep");
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        check_error("a: 1\nb: 2\na: 3\n", 3, "the key \"a\" is already defined at line 1");
        check_error("a: 1\n---\nb: 1\n", 2, "a second document begins here");
        check_error("a: 1\nb: [1,\n", 3, "invalid YAML: ");
        check_error("a: *b\n", 1, "invalid YAML: ");
        check_error("a: &a [*a]\n", 1, "an alias within its own value");
        check_error("a: 1\n[b]: 2\n", 2, "a key must be text");
        check_error("a: !ruby 1\n", 1, "the tag !ruby is not known");
        check_error("a: !!int x\n", 1, "\"x\" is not a !!int");
    }
}
