//! Changes of the configuration while the process runs.
//!
//! A component type says which of its keys can change while it runs. A new configuration is read
//! and checked as a whole; if it differs in these keys only, their components take them over, else
//! nothing changes. So what runs is always one configuration, never a mixture.

use super::factory::{ComponentId, Kind};
use super::model::Model;
use crate::config::{Data, Node, Path};

/// What became of a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// It says what is in force already.
    Unchanged,
    /// It is in force; these keys are different.
    Applied(Vec<String>),
    /// These keys cannot change while the process runs, so nothing was changed.
    NeedsRestart(Vec<String>),
}

/// Keys that differ, and can.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Their paths.
    pub(super) paths: Vec<String>,
    components: Vec<(Kind, ComponentId)>,
}

impl Changes {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The components they are of, each once.
    pub(super) fn components(&self) -> impl Iterator<Item = (Kind, &ComponentId)> {
        self.components.iter().map(|(kind, id)| (*kind, id))
    }
}

/// In what `model` differs from `before`, or else in which keys it must not.
pub(super) fn compare(before: &Node, model: &Model) -> Result<Changes, Vec<String>> {
    let (mut changes, mut fixed) = (Changes::default(), Vec::new());
    let mut differences = Vec::new();
    find(before, &model.root, &Path::ROOT, &mut Vec::new(), &mut differences);
    for Difference { keys, path } in differences {
        match component(&keys) {
            Some((kind, id)) if !model.uses(kind, &id) => {}
            Some((kind, id)) => {
                let section = model.components.get(&(kind, id.clone()));
                let key = keys.get(2).map_or("", String::as_str);
                if !section.is_some_and(|section| section.is_live(key)) {
                    fixed.push(path);
                    continue;
                }
                changes.paths.push(path);
                if !changes.components.contains(&(kind, id.clone())) {
                    changes.components.push((kind, id));
                }
            }
            None => fixed.push(path),
        }
    }
    match fixed.is_empty() {
        true => Ok(changes),
        false => Err(fixed),
    }
}

struct Difference {
    keys: Vec<String>,
    path: String,
}

/// The component that a key belongs to.
fn component(keys: &[String]) -> Option<(Kind, ComponentId)> {
    let [section, id, ..] = keys else { return None };
    let kind = Kind::ALL.into_iter().find(|kind| kind.section() == section)?;
    Some((kind, ComponentId::parse(id).ok()?))
}

/// Finds the keys whose values differ, as far down as both are maps. What is not there is as a
/// null.
fn find(
    before: &Node,
    after: &Node,
    at: &Path<'_>,
    keys: &mut Vec<String>,
    found: &mut Vec<Difference>,
) {
    let is_open = |node: &Node| matches!(node.data, Data::Map(_) | Data::Null);
    if !is_open(before) || !is_open(after) || before.is_null() && after.is_null() {
        if !is_same(before, after) {
            found.push(Difference { keys: keys.clone(), path: at.to_string() });
        }
        return;
    }
    let null = Node::new(Data::Null);
    let gone = before.entries().iter().filter(|entry| after.get(&entry.key).is_none());
    let pairs = gone.map(|entry| (&entry.key, &entry.value, &null)).chain(
        after
            .entries()
            .iter()
            .map(|entry| (&entry.key, before.get(&entry.key).unwrap_or(&null), &entry.value)),
    );
    for (key, before, after) in pairs {
        keys.push(key.clone());
        find(before, after, &at.key(key), keys, found);
        keys.pop();
    }
}

/// Whether two values are equal wherever they stand.
fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.data, &other.data) {
        (Data::List(one), Data::List(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Data::Map(entries), Data::Map(others)) => {
            entries.len() == others.len()
                && entries.iter().all(|entry| {
                    other.get(&entry.key).is_some_and(|other| is_same(&entry.value, other))
                })
        }
        (one_data, other_data) => one_data == other_data && one.text == other.text,
    }
}

#[cfg(test)]
mod tests;
