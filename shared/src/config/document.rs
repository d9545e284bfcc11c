//! The whole configuration: its sources read, laid over each other, and expanded.

use std::sync::Arc;

use super::expand::expand;
use super::merge::merge;
use super::node::{Data, Entry, Node, Place};
use super::problems::{Path, Problems};
use super::source::{Fetched, Location, World};
use super::yaml;

/// A configuration that could be read; whether it makes sense is not known yet.
#[derive(Debug)]
pub struct Document {
    /// Its values.
    pub root: Arc<Node>,
    /// What is wrong so far: placeholders that could not be replaced. Reading on adds to it.
    pub problems: Problems,
}

impl Document {
    /// Reads `configs` (values of `--config`), lays them over each other from left to right, then
    /// `sets` (values of `--set`), and replaces placeholders.
    ///
    /// # Errors
    /// All sources that cannot be read, if there are any.
    pub fn load(
        configs: &[String],
        sets: &[String],
        world: &dyn World,
    ) -> Result<Document, Problems> {
        let mut problems = Problems::default();
        let mut root = Node::new(Data::Null);
        for uri in configs {
            add(&mut root, read(uri, world, &mut problems));
        }
        for setting in sets {
            add(&mut root, set(setting, &mut problems));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        expand(&mut root, world, &mut problems);
        let root = Arc::new(root);
        problems.locate_in(Arc::clone(&root));
        Ok(Document { root, problems })
    }

    /// Sets a key of every component of a type that does not have it: in `processors`, for
    /// `type` and `type/name`. The key may be that of a section's key, `outer::inner`.
    pub fn set_default(&mut self, section: &str, type_name: &str, key: &str, value: &str) {
        let mut root = (*self.root).clone();
        let Some(Data::Map(components)) = root.get_mut(section).map(|node| &mut node.data) else {
            return;
        };
        let value = yaml::parse(value, 0).unwrap_or_else(|_| Node::new(Data::Null));
        for component in components {
            if component.key.split('/').next().map(str::trim) == Some(type_name) {
                let keys: Vec<&str> = key.split("::").collect();
                set_if_absent(&mut component.value, &keys, &value);
            }
        }
        self.root = Arc::new(root);
        self.problems.locate_in(Arc::clone(&self.root));
    }

    /// Reads one text, as if it were the file `config.yaml`.
    ///
    /// # Errors
    /// What is wrong with it as YAML.
    pub fn parse(text: &str, world: &dyn World) -> Result<Document, Problems> {
        struct One<'t>(&'t str, &'t dyn World);
        impl World for One<'_> {
            fn variable(&self, name: &str) -> Option<String> {
                self.1.variable(name)
            }
            fn file(&self, path: &str) -> std::io::Result<String> {
                match path {
                    "config.yaml" => Ok(self.0.to_owned()),
                    _ => self.1.file(path),
                }
            }
        }
        Self::load(&["config.yaml".to_owned()], &[], &One(text, world))
    }
}

/// A source that says nothing changes nothing.
fn add(root: &mut Node, more: Option<Node>) {
    if let Some(more) = more
        && !more.is_null()
    {
        merge(root, more);
    }
}

fn read(uri: &str, world: &dyn World, problems: &mut Problems) -> Option<Node> {
    let location = match Location::of_flag(uri) {
        Ok(location) => location,
        Err(message) => {
            problems.report(&Path::ROOT, message);
            return None;
        }
    };
    let text = match location.fetch(world) {
        Ok(Fetched::Text(text)) => text,
        Ok(Fetched::EmptyDefault) => String::new(),
        Ok(Fetched::Unset) => {
            problems.report(&Path::ROOT, format!("{} is not set", location.name()));
            return None;
        }
        Err(message) => {
            problems.report(&Path::ROOT, message);
            return None;
        }
    };
    let source = problems.add_source(location.name());
    match yaml::parse(&text, source) {
        Ok(node) => sections(node, problems),
        Err(error) => {
            let place = Place { source, line: error.line };
            problems.report_at(place, &Path::ROOT, error.message);
            None
        }
    }
}

/// Checks that a source is a map, and splits its keys: `processors::batch: {}`.
fn sections(mut node: Node, problems: &mut Problems) -> Option<Node> {
    let (place, kind) = (node.place, node.kind());
    match &mut node.data {
        Data::Null => Some(node),
        Data::Map(entries) => {
            let mut root = Node { place, ..Node::new(Data::Map(Vec::new())) };
            for Entry { key, place, value } in entries.drain(..) {
                merge(&mut root, at_path(&key, place, value));
            }
            Some(root)
        }
        _ => {
            problems.report_at(place, &Path::ROOT, format!("expected a map, got {kind}"));
            None
        }
    }
}

/// The value of one `--set`: `receivers.otlp.protocols={}`.
fn set(setting: &str, problems: &mut Problems) -> Option<Node> {
    let Some((key, text)) = setting.split_once('=') else {
        let message = format!("--set {setting}: missing equal sign");
        problems.report(&Path::ROOT, message);
        return None;
    };
    let source = problems.add_source(format!("--set {key}"));
    let place = Place { source, line: 0 };
    let segments = key.replace('.', "::");
    if segments.split("::").any(str::is_empty) {
        problems.report_at(place, &Path::ROOT, "the key has an empty part");
        return None;
    }
    match yaml::parse(text, source) {
        Ok(mut value) => {
            without_lines(&mut value);
            Some(at_path(&segments, place, value))
        }
        Err(error) => {
            problems.report_at(place, &Path::ROOT, error.message);
            None
        }
    }
}

/// A flag has no lines worth telling.
fn without_lines(node: &mut Node) {
    node.place.line = 0;
    match &mut node.data {
        Data::List(items) => items.iter_mut().for_each(without_lines),
        Data::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.place.line = 0;
            without_lines(&mut entry.value);
        }),
        _ => {}
    }
}

/// Maps within each other, one for each part of `a::b::c`, that lead to `value`.
fn at_path(path: &str, place: Place, value: Node) -> Node {
    path.rsplit("::").fold(value, |value, key| {
        let entry = Entry { key: key.to_owned(), place, value };
        Node { place, ..Node::new(Data::Map(vec![entry])) }
    })
}

/// Sets a key below `node`, unless it is there; sections on the way come into being.
fn set_if_absent(node: &mut Node, keys: &[&str], value: &Node) {
    let [key, inner @ ..] = keys else { return };
    if node.is_null() {
        node.data = Data::Map(Vec::new());
    }
    let Data::Map(entries) = &mut node.data else { return };
    if !entries.iter().any(|entry| entry.key == *key) {
        let value = if inner.is_empty() { value.clone() } else { Node::new(Data::Null) };
        entries.push(Entry { key: (*key).to_owned(), place: Place::default(), value });
    }
    if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *key) {
        set_if_absent(&mut entry.value, inner, value);
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
