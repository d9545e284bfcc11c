//! Cuts a request by its resource entries, which stay whole.

use std::hash::Hash;

use hashbrown::HashMap;

use super::super::export::{ResourceEntry, resources};
use super::Part;
use super::groups::{ENTRY_TAG, length_delimited_len, put_length_delimited};

/// Cuts `request` by a key of each resource entry, in order of first appearance.
///
/// The entries stay whole; those that hold no record are left out.
pub fn regroup_resources<K: Eq + Hash + Copy>(
    request: &[u8],
    key: impl FnMut(ResourceEntry<'_>) -> K,
) -> Vec<Part<K>> {
    EntryPlan::new(request, key).write()
}

/// Which part each resource entry goes to, and how long each part will be.
pub(crate) struct EntryPlan<'a, K> {
    request: &'a [u8],
    /// The part of every entry that holds a record, in their order.
    part_of_entry: Vec<usize>,
    parts: Vec<Part<K>>,
    lengths: Vec<usize>,
}

impl<'a, K: Eq + Hash + Copy> EntryPlan<'a, K> {
    /// Asks for the key of every resource entry that holds a record.
    pub(crate) fn new(request: &'a [u8], mut key: impl FnMut(ResourceEntry<'a>) -> K) -> Self {
        let (parts, lengths) = (Vec::new(), Vec::new());
        let mut plan = Self { request, part_of_entry: Vec::new(), parts, lengths };
        let mut index_of: HashMap<K, usize> = HashMap::new();
        for (entry, records) in entries_with_records(request) {
            let key = key(entry);
            let index = *index_of.entry(key).or_insert_with(|| {
                plan.parts.push(Part { key, request: Vec::new(), records: 0 });
                plan.lengths.push(0);
                plan.parts.len() - 1
            });
            plan.part_of_entry.push(index);
            plan.parts[index].records += records;
            plan.lengths[index] += length_delimited_len(entry.content.len());
        }
        plan
    }

    /// The key that all records have; `None` when there are several, or no record at all.
    pub(crate) fn only_key(&self) -> Option<K> {
        match &self.parts[..] {
            [only] => Some(only.key),
            _ => None,
        }
    }

    /// Writes the request of each key.
    pub(crate) fn write(mut self) -> Vec<Part<K>> {
        for (part, length) in self.parts.iter_mut().zip(self.lengths) {
            part.request.reserve_exact(length);
        }
        for ((entry, _), index) in entries_with_records(self.request).zip(self.part_of_entry) {
            let request = &mut self.parts[index].request;
            put_length_delimited(ENTRY_TAG, entry.content.len(), request);
            request.extend_from_slice(entry.content);
        }
        self.parts
    }
}

/// The resource entries that hold a record, each with its number of records.
fn entries_with_records(request: &[u8]) -> impl Iterator<Item = (ResourceEntry<'_>, usize)> {
    resources(request)
        .map(|entry| (entry, entry.scopes().map(|scope| scope.records().count()).sum()))
        .filter(|(_, records)| *records > 0)
}
