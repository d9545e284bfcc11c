//! Replaces `${…}` in the values of a configuration.
//!
//! A placeholder that is the whole value brings what its text means as YAML, and keeps the text
//! for fields that want text; within a longer text it brings its text. Values stay at the place
//! of their placeholder; only what comes out of a file has that file's lines. `$$` is `$`.
//! Source: collector confmap/expand.go, docs/rfcs/env-vars.md.

use std::ops::Range;

use super::node::{Data, Node, Place};
use super::problems::{Path, Problems};
use super::source::{Fetched, Location, World};
use super::yaml;

/// How often one value may be expanded again, and how deep files may bring in files.
const MAX_ROUNDS: usize = 1000;
const MAX_FILES_DEEP: usize = 20;
/// Placeholders in a configuration, counting those that others bring.
const MAX_PLACEHOLDERS: usize = 20_000;
/// Longest text that placeholders may add up to, in bytes.
const MAX_TEXT: usize = 4 << 20;

/// Replaces all placeholders below `root`. What cannot be replaced is reported and becomes null.
pub(super) fn expand(root: &mut Node, world: &dyn World, problems: &mut Problems) {
    let mut expander = Expander { world, problems, placeholders: 0 };
    expander.value(root, &Path::ROOT, 0);
}

struct Expander<'w> {
    world: &'w dyn World,
    problems: &'w mut Problems,
    placeholders: usize,
}

/// What a placeholder stands for.
struct Replacement {
    node: Node,
    /// As it was fetched.
    text: String,
}

impl Expander<'_> {
    fn value(&mut self, node: &mut Node, at: &Path<'_>, depth: usize) {
        match &mut node.data {
            Data::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, &at.index(index), depth);
                }
            }
            Data::Map(entries) => {
                for entry in entries {
                    self.value(&mut entry.value, &at.key(&entry.key), depth);
                }
            }
            Data::String(text) if text.contains('$') => {
                let text = std::mem::take(text);
                match self.text(text, node.place, at, depth) {
                    Ok(value) => *node = value,
                    Err(message) => {
                        self.problems.report_at(node.place, at, message);
                        node.data = Data::Null;
                    }
                }
            }
            _ => {}
        }
    }

    /// The value that a text with placeholders stands for.
    fn text(
        &mut self,
        mut text: String,
        place: Place,
        at: &Path<'_>,
        depth: usize,
    ) -> Result<Node, String> {
        for _ in 0..MAX_ROUNDS {
            let Some(found) = placeholder(&text)? else {
                return Ok(Node { place, ..Node::new(Data::String(unescape(&text))) });
            };
            self.placeholders += 1;
            if self.placeholders > MAX_PLACEHOLDERS || text.len() > MAX_TEXT {
                return Err("too many recursive expansions".to_owned());
            }
            let uri = text.get(found.start + 2..found.end - 1).expect("found at its brackets");
            let replacement = self.fetch(uri, place, at)?;
            let whole = found.len() == text.len();
            match replacement.node.data {
                Data::String(replaced) if whole => text = replaced,
                Data::List(_) | Data::Map(_) if !whole => {
                    let kind = replacement.node.kind();
                    return Err(format!("expanding ${{{uri}}} within a text: it is {kind}"));
                }
                _ if !whole => text.replace_range(found, &replacement.text),
                _ if depth == MAX_FILES_DEEP => {
                    return Err("too many recursive expansions".to_owned());
                }
                _ => {
                    let mut node = replacement.node;
                    self.value(&mut node, at, depth + 1);
                    node.text = Some(unescape(&replacement.text));
                    return Ok(node);
                }
            }
        }
        Err("too many recursive expansions".to_owned())
    }

    fn fetch(&mut self, uri: &str, place: Place, at: &Path<'_>) -> Result<Replacement, String> {
        let location = Location::of_placeholder(uri)?;
        let at_place = |data| Node { place, ..Node::new(data) };
        let text = match location.fetch(self.world)? {
            Fetched::Text(text) => text,
            Fetched::EmptyDefault => {
                let node = at_place(Data::String(String::new()));
                return Ok(Replacement { node, text: String::new() });
            }
            Fetched::Unset => {
                let message = format!("{} is not set", location.name());
                self.problems.warn_at(place, at, message);
                return Ok(Replacement { node: at_place(Data::Null), text: String::new() });
            }
        };
        let Location::File(path) = &location else {
            let mut node = match yaml::parse(&text, 0) {
                Ok(node) if !matches!(node.data, Data::String(_)) => node,
                // Not YAML, or text in YAML: used as it is, with quotes if it has them.
                _ => at_place(Data::String(text.clone())),
            };
            put_at(&mut node, place);
            return Ok(Replacement { node, text });
        };
        let source = self.problems.add_source(path);
        let extension = std::path::Path::new(path).extension();
        let is_yaml = extension.is_some_and(|name| name == "yaml" || name == "yml");
        // A file that holds one value, such as a token, ends with a newline that is not part of it.
        let trimmed = text.trim_end_matches(['\r', '\n']).to_owned();
        let node = match yaml::parse(&text, source) {
            Ok(node) if !matches!(node.data, Data::String(_)) => node,
            Err(error) if is_yaml => return Err(format!("{path}:{}: {error}", error.line)),
            _ => at_place(Data::String(trimmed.clone())),
        };
        Ok(Replacement { node, text: trimmed })
    }
}

fn put_at(node: &mut Node, place: Place) {
    node.place = place;
    match &mut node.data {
        Data::List(items) => items.iter_mut().for_each(|item| put_at(item, place)),
        Data::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.place = place;
            put_at(&mut entry.value, place);
        }),
        _ => {}
    }
}

/// The first placeholder that has no other inside: the last `${` before the first `}`. One behind
/// an odd number of further `$` is escaped.
fn placeholder(text: &str) -> Result<Option<Range<usize>>, String> {
    let bytes = text.as_bytes();
    // Start of the innermost placeholder that is open, and whether one was opened at all.
    let mut open = None;
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            b'$' => {
                let dollars = bytes[index..].iter().take_while(|byte| **byte == b'$').count();
                index += dollars;
                if bytes.get(index) == Some(&b'{') {
                    open = (dollars % 2 == 1).then_some(index - 1);
                }
            }
            b'}' => match open {
                Some(start) => return Ok(Some(start..index + 1)),
                None => index += 1,
            },
            _ => index += 1,
        }
    }
    match open {
        Some(_) => Err(format!("\"{text}\" has a ${{ without }}; write $${{ for the text itself")),
        None => Ok(None),
    }
}

fn unescape(text: &str) -> String {
    text.replace("$$", "$")
}

#[cfg(test)]
#[path = "expand_tests.rs"]
mod tests;
