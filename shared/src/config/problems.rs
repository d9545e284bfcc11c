//! Everything that is wrong with a configuration, said at once.

use std::fmt;
use std::sync::Arc;

use super::node::{Data, Node, Place};
use crate::auth::Side;

/// Where a value stands in the configuration: `exporters::loadbalancing::resolver`.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Segment<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl Path<'static> {
    /// The whole configuration.
    pub const ROOT: Path<'static> = Path { parent: None, segment: Segment::Root };
}

impl<'a> Path<'a> {
    /// The value under `key` in here.
    pub fn key<'b>(&'b self, key: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), segment: Segment::Key(key) }
    }

    /// The list element at `index` in here.
    pub fn index<'b>(&'b self, index: usize) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), segment: Segment::Index(index) }
    }

    /// The node under this path in `root`, or the nearest one above it that exists.
    fn nearest<'n>(&self, root: &'n Node) -> (&'n Node, Place) {
        let Some(parent) = self.parent else { return (root, root.place) };
        let (node, place) = parent.nearest(root);
        match (&node.data, self.segment) {
            (Data::Map(entries), Segment::Key(key)) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map_or((node, place), |entry| (&entry.value, entry.place)),
            (Data::List(items), Segment::Index(index)) => {
                items.get(index).map_or((node, place), |item| (item, item.place))
            }
            _ => (node, place),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent
            && !matches!(parent.segment, Segment::Root)
        {
            write!(f, "{parent}::")?;
        }
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Key(key) => f.write_str(key),
            Segment::Index(index) => write!(f, "{index}"),
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Key path, joined by `::`; empty for the whole configuration.
    pub path: String,
    /// File and line, if it stands in a file.
    pub place: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// An extension that a section names: to be looked up when all sections are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where it is named.
    pub at: Problem,
    /// Its id, as it is written.
    pub id: String,
    /// What it is to do.
    pub side: Side,
}

/// Collects what is wrong with a configuration.
#[derive(Debug, Default)]
pub struct Problems {
    root: Option<Arc<Node>>,
    sources: Vec<String>,
    problems: Vec<Problem>,
    asides: Box<Asides>,
    references: Vec<Reference>,
}

/// What is not wrong.
#[derive(Debug, Clone, Default)]
struct Asides {
    warnings: Vec<Problem>,
    former_names: Vec<Problem>,
}

impl Problems {
    /// No problems yet. Lines are looked up in `root`; `sources` names the files that
    /// [`Place::source`] counts.
    pub fn new(root: Arc<Node>, sources: Vec<String>) -> Self {
        Self { root: Some(root), sources, ..Self::default() }
    }

    /// Adds a source; its number is what [`Place::source`] says.
    pub fn add_source(&mut self, name: impl Into<String>) -> usize {
        self.sources.push(name.into());
        self.sources.len() - 1
    }

    /// Looks lines up in `root` from now on.
    pub fn locate_in(&mut self, root: Arc<Node>) {
        self.root = Some(root);
    }

    /// Notes that something at `path` is wrong that stands at `place`.
    pub fn report_at(&mut self, place: Place, path: &Path<'_>, message: impl Into<String>) {
        let place = self.describe(place);
        self.problems.push(Problem { path: path.to_string(), place, message: message.into() });
    }

    /// Notes something at `path` that works but should be changed, and stands at `place`.
    pub fn warn_at(&mut self, place: Place, path: &Path<'_>, message: impl Into<String>) {
        let place = self.describe(place);
        self.asides.warnings.push(Problem {
            path: path.to_string(),
            place,
            message: message.into(),
        });
    }

    /// Notes that the value at `path` is wrong.
    pub fn report(&mut self, path: &Path<'_>, message: impl Into<String>) {
        let problem = self.problem(path, message.into());
        self.problems.push(problem);
    }

    /// Notes that the value at `value`, which lies below `path`, makes `path` wrong.
    pub fn report_about(&mut self, path: &Path<'_>, value: &Path<'_>, message: impl Into<String>) {
        let place = self.problem(value, String::new()).place;
        self.problems.push(Problem { path: path.to_string(), place, message: message.into() });
    }

    /// Notes something about the value at `path` that works but should be changed.
    pub fn warn(&mut self, path: &Path<'_>, message: impl Into<String>) {
        let problem = self.problem(path, message.into());
        self.asides.warnings.push(problem);
    }

    /// Notes that something at `path` means what it says but has another name today.
    pub fn mention(&mut self, path: &Path<'_>, message: impl Into<String>) {
        let problem = self.problem(path, message.into());
        self.asides.former_names.push(problem);
    }

    /// Notes that the value at `path` names the extension `id`, which is to authenticate.
    pub fn refer(&mut self, path: &Path<'_>, id: &str, side: Side) {
        let at = self.problem(path, String::new());
        self.references.push(Reference { at, id: id.to_owned(), side });
    }

    /// The extensions that were named.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Notes what is wrong with a reference.
    pub fn report_reference(&mut self, reference: &Reference, message: impl Into<String>) {
        self.problems.push(Problem { message: message.into(), ..reference.at.clone() });
    }

    /// Takes back those of the problems from `start` on that `keep` does not want.
    pub(crate) fn retain_since(&mut self, start: usize, keep: impl Fn(&Problem) -> bool) {
        let later = self.problems.split_off(start);
        self.problems.extend(later.into_iter().filter(keep));
    }

    /// Whether nothing is wrong; warnings do not count.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// What is wrong, in the order it was found.
    pub fn errors(&self) -> &[Problem] {
        &self.problems
    }

    /// What has another name today.
    pub fn former_names(&self) -> &[Problem] {
        &self.asides.former_names
    }

    /// What should be changed.
    pub fn warnings(&self) -> &[Problem] {
        &self.asides.warnings
    }

    fn problem(&self, path: &Path<'_>, message: String) -> Problem {
        let place = self.root.as_deref().map(|root| path.nearest(root).1);
        let place = place.and_then(|place| self.describe(place));
        Problem { path: path.to_string(), place, message }
    }

    fn describe(&self, place: Place) -> Option<String> {
        let source = self.sources.get(place.source)?;
        Some(match place.line {
            0 => source.clone(),
            line => format!("{source}:{line}"),
        })
    }
}

/// The known name nearest to `name`, if one is near enough to be meant.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known)
}

/// Edits (insert, delete, replace, swap neighbours) from `a` to `b`; case does not count.
fn distance(a: &str, b: &str) -> usize {
    let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    let (a, b) = (lower(a), lower(b));
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested() {
        let known = ["endpoint", "timeout", "queue_size"];
        assert_eq!(nearest("endpiont", known), Some("endpoint"));
        assert_eq!(nearest("TimeOut", known), Some("timeout"));
        assert_eq!(nearest("queuesize", known), Some("queue_size"));
        assert_eq!(nearest("compression", known), None);
    }

    #[test]
    fn paths_are_joined_by_double_colons() {
        let exporters = Path::ROOT.key("exporters");
        let exporter = exporters.key("otlp/a");
        assert_eq!(exporter.index(2).to_string(), "exporters::otlp/a::2");
    }
}
