//! Batchers kept apart by metadata: only batches with the same values of certain headers are
//! joined, and only these headers go on with them. Told the time; no I/O, no clock.
//!
//! A partition exists only while something waits in it, so there are no more of them than batches
//! that wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::batcher::{Batcher, Joined, Limits};
use crate::batch::Batch;
use crate::config::{Path, Problems};
use crate::metadata::Metadata;

/// The values that tell a partition from others.
pub(crate) type Values = Option<Arc<Metadata>>;

/// What waits to be joined, by partition.
#[derive(Debug)]
pub(crate) struct Partitions<T> {
    limits: Limits,
    names: Names,
    waiting: BTreeMap<Values, Batcher<T>>,
    /// When partitions are due, in order; some of them left earlier.
    due: VecDeque<(Instant, Values)>,
}

/// Names of headers, in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Vec<Arc<str>>);

impl Names {
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase().into()).collect())
    }

    /// Reports names that stand twice in the list at `at`.
    pub(crate) fn validate(names: &[String], at: &Path<'_>, problems: &mut Problems) {
        for (index, name) in names.iter().enumerate() {
            if names[..index].iter().any(|other| other.eq_ignore_ascii_case(name)) {
                let name = name.to_ascii_lowercase();
                problems.report(
                    &at.index(index),
                    format!("duplicate entry in metadata_keys: {name:?} (case-insensitive)"),
                );
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// The partition that a batch belongs to.
    pub(crate) fn values(&self, batch: &Batch) -> Values {
        batch.metadata().and_then(|metadata| metadata.only(&self.0))
    }
}

impl<T: Clone> Partitions<T> {
    /// None yet; without names all batches belong together.
    pub(crate) fn new(limits: Limits, names: Names) -> Self {
        Self { limits, names, waiting: BTreeMap::new(), due: VecDeque::new() }
    }

    /// When [`Partitions::flush_due`] is to be called, if anything waits.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        while let Some((due, values)) = self.due.front() {
            if self.waiting.get(values).is_some_and(|waiting| waiting.due() == Some(*due)) {
                return Some(*due);
            }
            self.due.pop_front();
        }
        None
    }

    /// Takes a batch; returns what has become large enough.
    pub(crate) fn push(&mut self, batch: Batch, token: T, now: Instant) -> Vec<Joined<T>> {
        let values = self.names.values(&batch);
        let batch = batch.with_metadata(values.clone());
        let batcher =
            self.waiting.entry(values.clone()).or_insert_with(|| Batcher::new(self.limits));
        let before = batcher.due();
        let joined = batcher.push(batch, token, now);
        match batcher.due() {
            None => drop(self.waiting.remove(&values)),
            Some(due) if before == Some(due) => {}
            Some(due) => self.due.push_back((due, values)),
        }
        joined
    }

    /// Lets go of what is old enough.
    pub(crate) fn flush_due(&mut self, now: Instant) -> Vec<Joined<T>> {
        let mut joined = Vec::new();
        while self.due().is_some_and(|due| due <= now) {
            let Some((_, values)) = self.due.pop_front() else { break };
            joined.extend(self.waiting.remove(&values).and_then(|mut batcher| batcher.flush()));
        }
        joined
    }

    /// Lets go of all that waits.
    pub(crate) fn flush(&mut self) -> Vec<Joined<T>> {
        self.due.clear();
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().filter_map(|mut batcher| batcher.flush()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metadata::testing::tenant;
    use crate::queue::Sizer;
    use crate::queue::tests::spans;

    const WAIT: Duration = Duration::from_millis(200);

    fn partitions(names: &[&str]) -> Partitions<()> {
        let limits = Limits { flush_timeout: WAIT, min_size: 5, max_size: 0, sizer: Sizer::Items };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Partitions::new(limits, Names::new(&names))
    }

    fn of(tenant_name: &'static str, items: usize) -> Batch {
        spans(items).with_metadata(tenant(tenant_name))
    }

    /// Items and tenant of each.
    fn shape(joined: impl IntoIterator<Item = Joined<()>>) -> Vec<(usize, String)> {
        let tenant = |batch: &Batch| {
            let values = batch.metadata().map(|of| of.header("x-tenant").to_vec());
            values.into_iter().flatten().map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        joined.into_iter().map(|joined| (joined.batch.items(), tenant(&joined.batch))).collect()
    }

    #[test]
    fn only_batches_of_one_tenant_are_joined_and_keep_its_name() {
        let (mut partitions, now) = (partitions(&["X-Tenant"]), crate::clock::now());
        assert_eq!(shape(partitions.push(of("a", 3), (), now)), []);
        assert_eq!(shape(partitions.push(of("b", 3), (), now)), []);
        assert_eq!(shape(partitions.push(spans(3), (), now)), []);
        assert_eq!(shape(partitions.push(of("a", 3), (), now)), [(6, "a".into())]);
        assert_eq!(shape(partitions.flush()), [(3, String::new()), (3, "b".into())]);
    }

    #[test]
    fn each_partition_leaves_in_its_own_time() {
        let (mut partitions, now) = (partitions(&["x-tenant"]), crate::clock::now());
        let later = now + WAIT / 2;
        partitions.push(of("a", 1), (), now);
        partitions.push(of("b", 1), (), later);
        assert_eq!(partitions.due(), Some(now + WAIT));
        assert_eq!(shape(partitions.flush_due(now + WAIT)), [(1, "a".into())]);
        // What left as large enough is not waited for.
        assert_eq!(shape(partitions.push(of("b", 9), (), later)), [(10, "b".into())]);
        assert_eq!(partitions.due(), None);
        partitions.push(of("b", 1), (), later + WAIT);
        assert_eq!(shape(partitions.flush_due(later + WAIT)), []);
        assert_eq!(partitions.due(), Some(later + WAIT + WAIT));
    }

    #[test]
    fn without_names_all_are_joined_and_metadata_ends_here() {
        let (mut partitions, now) = (partitions(&[]), crate::clock::now());
        partitions.push(of("a", 3), (), now);
        assert_eq!(shape(partitions.push(of("b", 3), (), now)), [(6, String::new())]);
        assert_eq!(shape(partitions.push(of("b", 9), (), now)), [(9, String::new())]);
    }
}
