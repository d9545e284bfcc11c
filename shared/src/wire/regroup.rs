//! Cuts one request into several, by a key read from each record.
//!
//! Every output is a request again. A record keeps its bytes, and it keeps its resource entry and
//! scope entry with all their fields, unknown ones included; only the two length prefixes above
//! it are new. Entries that hold no record are left out, and so are unknown fields of the request
//! itself, which belong to no record.
//!
//! A `Plan` asks for every record's group and adds up the lengths; then each output is written
//! into a buffer of exactly its size. The framing is walked again for that, which costs less than
//! remembering it: a walk skips over the records, and what is kept between the two is four bytes
//! a record, however the request was put together.
//!
//! Each part repeats the headers of the entries it has records of. A caller that makes many parts
//! of what strangers send should therefore look at the sum of their lengths.

use std::hash::Hash;

use hashbrown::HashMap;

use super::export::{ResourceEntry, resources};
use super::field::{Fields, Value};
use super::write::{put_varint, varint_len};

/// One of the requests that a request was cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<K> {
    /// What the records of this part have in common.
    pub key: K,
    /// An export request.
    pub request: Vec<u8>,
    /// Its number of records (spans, log records, metrics); at least one. [`super::count`] tells
    /// a metrics request's data points.
    pub records: usize,
}

/// Cuts `request` by a key of each record, in order of first appearance.
pub fn regroup<K: Eq + Hash + Copy>(request: &[u8], key: impl FnMut(&[u8]) -> K) -> Vec<Part<K>> {
    let (keys, plan) = Plan::by_key(request, key);
    let parts = plan.write();
    parts.map(|Part { key, request, records }| Part { key: keys[key], request, records }).collect()
}

/// Cuts `request` by a group number of each record; groups without a record are left out.
///
/// The numbers should be small: there is an output for each up to the largest.
pub fn regroup_indexed(request: &[u8], group: impl FnMut(&[u8]) -> usize) -> Vec<Part<usize>> {
    Plan::new(request, group).write().collect()
}

/// Cuts `request` by a key of each resource entry, in order of first appearance.
///
/// The entries stay whole; those that hold no record are left out.
pub fn regroup_resources<K: Eq + Hash + Copy>(
    request: &[u8],
    mut key: impl FnMut(ResourceEntry<'_>) -> K,
) -> Vec<Part<K>> {
    let mut parts: Vec<Part<K>> = Vec::new();
    let mut index_of: HashMap<K, usize> = HashMap::new();
    for entry in resources(request) {
        let records: usize = entry.scopes().map(|scope| scope.records().count()).sum();
        if records == 0 {
            continue;
        }
        let key = key(entry);
        let index = *index_of.entry(key).or_insert_with(|| {
            parts.push(Part { key, request: Vec::new(), records: 0 });
            parts.len() - 1
        });
        let part = &mut parts[index];
        put_length_delimited(ENTRY_TAG, entry.content.len(), &mut part.request);
        part.request.extend_from_slice(entry.content);
        part.records += records;
    }
    parts
}

/// Field 1, length-delimited: a resource entry in a request.
const ENTRY_TAG: u8 = 0x0a;
/// Field 2, length-delimited: a scope entry in a resource entry, a record in a scope entry.
const NESTED_TAG: u8 = 0x12;

/// Which group each record of a request goes to, and how long each group's request will be.
pub(crate) struct Plan<'a> {
    request: &'a [u8],
    /// The group of every record, in their order.
    group_of_record: Vec<u32>,
    groups: Groups,
}

impl<'a> Plan<'a> {
    /// Asks for every record's group number.
    pub(crate) fn new(request: &'a [u8], mut group: impl FnMut(&'a [u8]) -> usize) -> Self {
        let mut groups = Groups::default();
        let mut group_of_record = Vec::new();
        for entry in resources(request) {
            groups.measure_entry(entry.content, |record| {
                let group = group(record);
                group_of_record.push(u32::try_from(group).expect("group numbers are small"));
                group
            });
            groups.close_entry();
        }
        Self { request, group_of_record, groups }
    }

    /// Asks for every record's key and numbers the keys in order of first appearance.
    pub(crate) fn by_key<K: Eq + Hash + Copy>(
        request: &'a [u8],
        mut key: impl FnMut(&'a [u8]) -> K,
    ) -> (Vec<K>, Self) {
        let mut keys: Vec<K> = Vec::new();
        let mut index_of: HashMap<K, usize> = HashMap::new();
        let plan = Plan::new(request, |record| {
            let key = key(record);
            *index_of.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            })
        });
        (keys, plan)
    }

    /// The group that all records go to; `None` when there are several, or no record at all.
    pub(crate) fn only_group(&self) -> Option<usize> {
        let first = *self.group_of_record.first()?;
        self.group_of_record.iter().all(|group| *group == first).then_some(first as usize)
    }

    /// Writes the request of each group that has a record.
    pub(crate) fn write(mut self) -> impl Iterator<Item = Part<usize>> {
        let mut group_of_record = self.group_of_record.as_slice();
        self.groups.allocate();
        for entry in resources(self.request) {
            group_of_record = self.groups.write_entry(entry, group_of_record);
        }
        let outputs = self.groups.outputs.into_iter().enumerate();
        outputs.filter(|(_, output)| output.records > 0).map(|(key, output)| Part {
            key,
            request: output.request,
            records: output.records,
        })
    }
}

/// The request of a group, and what is being measured for it.
#[derive(Default)]
struct Output {
    request: Vec<u8>,
    request_len: usize,
    records: usize,
    /// Length of the current resource entry's content for this group; 0 if it has none.
    entry_len: usize,
    /// Length of the current scope entry's content for this group; 0 if it has none.
    scope_len: usize,
}

#[derive(Default)]
struct Groups {
    outputs: Vec<Output>,
    /// The groups that have records in the current resource entry.
    in_entry: Vec<usize>,
    /// The groups that have records in the current scope entry.
    in_scope: Vec<usize>,
}

impl Groups {
    /// Adds up, for each group, the length of a resource entry's content.
    fn measure_entry<'a>(&mut self, entry: &'a [u8], mut group: impl FnMut(&'a [u8]) -> usize) {
        self.in_entry.clear();
        let mut header_len = 0;
        for field in Fields::new(entry) {
            let (2, Value::Bytes(scope)) = (field.number, field.value) else {
                header_len += field.raw.len();
                continue;
            };
            self.measure_scope(scope, &mut group);
            for group in &self.in_scope {
                let output = &mut self.outputs[*group];
                if output.entry_len == 0 {
                    self.in_entry.push(*group);
                }
                output.entry_len += length_delimited_len(std::mem::take(&mut output.scope_len));
            }
        }
        for group in &self.in_entry {
            self.outputs[*group].entry_len += header_len;
        }
    }

    /// Adds up, for each group, the length of a scope entry's content.
    #[inline]
    fn measure_scope<'a>(&mut self, scope: &'a [u8], mut group: impl FnMut(&'a [u8]) -> usize) {
        self.in_scope.clear();
        let mut header_len = 0;
        for field in Fields::new(scope) {
            let (2, Value::Bytes(record)) = (field.number, field.value) else {
                header_len += field.raw.len();
                continue;
            };
            let group = group(record);
            if group >= self.outputs.len() {
                self.outputs.resize_with(group + 1, Output::default);
            }
            let output = &mut self.outputs[group];
            if output.scope_len == 0 {
                self.in_scope.push(group);
            }
            output.scope_len += field.raw.len();
        }
        for group in &self.in_scope {
            self.outputs[*group].scope_len += header_len;
        }
    }

    /// Counts the measured entry in with each group's request.
    fn close_entry(&mut self) {
        for group in &self.in_entry {
            let output = &mut self.outputs[*group];
            output.request_len += length_delimited_len(std::mem::take(&mut output.entry_len));
        }
    }

    fn allocate(&mut self) {
        for output in &mut self.outputs {
            output.request.reserve_exact(output.request_len);
        }
    }

    /// Appends a resource entry to each group that has records in it; returns the groups of the
    /// records after it.
    fn write_entry<'g>(
        &mut self,
        entry: ResourceEntry<'_>,
        mut group_of_record: &'g [u32],
    ) -> &'g [u32] {
        let mut groups = group_of_record.iter();
        self.measure_entry(entry.content, |_| next_group(&mut groups));
        for group in &self.in_entry {
            let output = &mut self.outputs[*group];
            let length = std::mem::take(&mut output.entry_len);
            put_length_delimited(ENTRY_TAG, length, &mut output.request);
            put_header(entry.content, &mut output.request);
        }
        for scope in entry.scopes() {
            group_of_record = self.write_scope(scope.content, group_of_record);
        }
        group_of_record
    }

    fn write_scope<'g>(&mut self, scope: &[u8], group_of_record: &'g [u32]) -> &'g [u32] {
        let mut groups = group_of_record.iter();
        self.measure_scope(scope, |_| next_group(&mut groups));
        for group in &self.in_scope {
            let output = &mut self.outputs[*group];
            let length = std::mem::take(&mut output.scope_len);
            put_length_delimited(NESTED_TAG, length, &mut output.request);
            put_header(scope, &mut output.request);
        }
        let mut groups = group_of_record.iter();
        for field in Fields::new(scope) {
            if matches!((field.number, field.value), (2, Value::Bytes(_))) {
                let output = &mut self.outputs[next_group(&mut groups)];
                output.request.extend_from_slice(field.raw);
                output.records += 1;
            }
        }
        groups.as_slice()
    }
}

fn next_group(groups: &mut std::slice::Iter<'_, u32>) -> usize {
    *groups.next().expect("every record was given a group") as usize
}

/// Length of a field of `length` bytes with its tag (of one byte) and length.
fn length_delimited_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

fn put_length_delimited(tag: u8, length: usize, output: &mut Vec<u8>) {
    output.push(tag);
    put_varint(output, length as u64);
}

/// Copies the fields of an entry that are not its nested entries (field 2).
fn put_header(entry: &[u8], output: &mut Vec<u8>) {
    for field in Fields::new(entry) {
        if !matches!((field.number, field.value), (2, Value::Bytes(_))) {
            output.extend_from_slice(field.raw);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    /// Two entries, two scopes in the first; records are one byte long: their key.
    fn request() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.bytes(3, b"url"); // before the rest, as a Collector writes it
            for (name, records) in [(b"x", b"abab"), (b"y", b"cccc")] {
                entry.message(2, |scope| {
                    for record in records {
                        scope.bytes(2, &[*record]);
                    }
                    scope.message(1, |scope| scope.bytes(1, name));
                    scope.varint(99, 1);
                });
            }
            entry.message(1, |resource| resource.string_attribute(1, b"k", b"v"));
        });
        writer.message(1, |entry| entry.message(2, |scope| scope.bytes(2, b"a")));
        writer.message(1, |entry| entry.bytes(3, b"holds no record"));
        writer.into_vec()
    }

    type Rows = Vec<(Vec<u8>, Vec<u8>, Vec<u8>, u8)>;

    fn rows(request: &[u8]) -> Rows {
        let mut rows = Vec::new();
        for entry in resources(request) {
            for scope in entry.scopes() {
                for record in scope.records() {
                    let mut header = Vec::new();
                    put_header(scope.content, &mut header);
                    rows.push((entry.schema_url().into(), scope.name().into(), header, record[0]));
                }
            }
        }
        rows
    }

    #[test]
    fn every_record_keeps_its_resource_and_scope() {
        let request = request();
        let parts = regroup(&request, |record| record[0]);
        let keys: Vec<_> = parts.iter().map(|part| (part.key, part.records)).collect();
        assert_eq!(keys, [(b'a', 3), (b'b', 2), (b'c', 4)]);
        let mut all: Rows = Vec::new();
        for part in &parts {
            let rows = rows(&part.request);
            assert!(rows.iter().all(|row| row.3 == part.key));
            all.extend(rows);
        }
        let mut expected = rows(&request);
        expected.sort();
        all.sort();
        assert_eq!(all, expected);
    }

    #[test]
    fn parts_are_framed_exactly() {
        for part in regroup(&request(), |record| record[0]) {
            // The records are no spans, so check as far as the scope entries by hand.
            assert!(!Fields::new(&part.request).any(|field| field.number != 1));
            for entry in resources(&part.request) {
                let mut fields = Fields::new(entry.content);
                assert!(fields.by_ref().count() > 0);
                assert!(!fields.is_malformed());
            }
        }
    }

    #[test]
    fn parts_are_allocated_exactly() {
        for part in regroup(&request(), |record| record[0]) {
            assert_eq!(part.request.len(), part.request.capacity());
        }
    }

    #[test]
    fn the_only_group_is_known_before_anything_is_copied() {
        let request = request();
        assert_eq!(Plan::new(&request, |_| 3).only_group(), Some(3));
        assert_eq!(Plan::new(&request, |record| usize::from(record[0])).only_group(), None);
        assert_eq!(Plan::new(&[], |_| 3).only_group(), None);
    }

    #[test]
    fn groups_without_records_are_left_out() {
        let parts = regroup_indexed(&request(), |record| if record[0] == b'a' { 7 } else { 2 });
        let keys: Vec<_> = parts.iter().map(|part| (part.key, part.records)).collect();
        assert_eq!(keys, [(2, 6), (7, 3)]);
    }

    #[test]
    fn resource_entries_stay_whole() {
        let request = request();
        let parts = regroup_resources(&request, |entry| entry.schema_url().is_empty());
        let keys: Vec<_> = parts.iter().map(|part| (part.key, part.records)).collect();
        assert_eq!(keys, [(false, 8), (true, 1)]);
        let whole = [&parts[0].request[..], &parts[1].request].concat();
        assert!(request.starts_with(&whole), "and in order, but for the one without records");
        assert_eq!(rows(&whole), rows(&request));
    }
}
