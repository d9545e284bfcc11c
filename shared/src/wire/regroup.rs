//! Cuts one request into several, by a key read from each record.
//!
//! Every output is a request again. A record keeps its bytes, and it keeps its resource entry and
//! scope entry with all their fields, unknown ones included; only the two length prefixes above
//! it are new. Entries that hold no record are left out.
//!
//! Each resource entry is read once: its records are noted with their groups and the lengths are
//! added up; then every touched group gets its headers and records appended in order.

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
    /// Its number of records (spans, log records, metrics).
    pub records: usize,
}

/// Cuts `request` by a key of each record, in order of first appearance.
pub fn regroup<K: Eq + Hash + Copy>(
    request: &[u8],
    mut key: impl FnMut(&[u8]) -> K,
) -> Vec<Part<K>> {
    let mut keys: Vec<K> = Vec::new();
    let mut index_of: HashMap<K, usize> = HashMap::new();
    let mut groups = Groups::default();
    cut(request, &mut groups, |record| {
        let key = key(record);
        *index_of.entry(key).or_insert_with(|| {
            keys.push(key);
            keys.len() - 1
        })
    });
    keys.into_iter()
        .zip(groups.outputs)
        .map(|(key, output)| Part { key, request: output.request, records: output.records })
        .collect()
}

/// Cuts `request` by a group number of each record; groups without a record are left out.
///
/// The numbers should be small: there is an output for each up to the largest.
pub fn regroup_indexed(request: &[u8], group: impl FnMut(&[u8]) -> usize) -> Vec<Part<usize>> {
    let mut groups = Groups::default();
    cut(request, &mut groups, group);
    groups
        .outputs
        .into_iter()
        .enumerate()
        .filter(|(_, output)| output.records > 0)
        .map(|(key, output)| Part { key, request: output.request, records: output.records })
        .collect()
}

/// Cuts `request` by a key of each resource entry, which stays whole.
///
/// Here `records` counts resource entries.
pub fn regroup_resources<K: Eq + Copy>(
    request: &[u8],
    mut key: impl FnMut(ResourceEntry<'_>) -> K,
) -> Vec<Part<K>> {
    let mut parts: Vec<Part<K>> = Vec::new();
    for entry in resources(request) {
        let key = key(entry);
        let part = match parts.iter_mut().position(|part| part.key == key) {
            Some(index) => &mut parts[index],
            None => {
                parts.push(Part { key, request: Vec::new(), records: 0 });
                parts.last_mut().expect("just pushed")
            }
        };
        part.request.push(ENTRY_TAG);
        put_varint(&mut part.request, entry.content.len() as u64);
        part.request.extend_from_slice(entry.content);
        part.records += 1;
    }
    parts
}

/// Field 1, length-delimited: a resource entry in a request.
const ENTRY_TAG: u8 = 0x0a;
/// Field 2, length-delimited: a scope entry in a resource entry, a record in a scope entry.
const NESTED_TAG: u8 = 0x12;

#[derive(Default)]
struct Output {
    request: Vec<u8>,
    records: usize,
    /// Length of the current resource entry's content for this group; 0 if it has none.
    entry_len: usize,
    /// Length of the current scope entry's records for this group; 0 if it has none.
    scope_len: usize,
}

/// The outputs and the scratch space that is used again for each resource entry.
#[derive(Default)]
struct Groups<'a> {
    outputs: Vec<Output>,
    scopes: Vec<Scope<'a>>,
    records: Vec<(usize, &'a [u8])>,
    /// Per scope entry: the groups it has records for, and their length.
    shares: Vec<(usize, usize)>,
    /// The groups that the current resource entry has records for.
    touched: Vec<usize>,
}

/// A scope entry and its stretch of `Groups::records` and `Groups::shares`.
struct Scope<'a> {
    content: &'a [u8],
    header_len: usize,
    records: std::ops::Range<usize>,
    shares: std::ops::Range<usize>,
}

fn cut<'a>(
    request: &'a [u8],
    groups: &mut Groups<'a>,
    mut group_of: impl FnMut(&'a [u8]) -> usize,
) {
    for entry in resources(request) {
        groups.scopes.clear();
        groups.records.clear();
        groups.shares.clear();
        groups.touched.clear();
        let header_len = groups.measure_entry(entry.content, &mut group_of);
        groups.emit_entry(entry.content, header_len, request.len());
    }
}

impl<'a> Groups<'a> {
    /// Notes the entry's records with their groups and adds up the lengths.
    fn measure_entry(
        &mut self,
        entry: &'a [u8],
        group_of: &mut impl FnMut(&'a [u8]) -> usize,
    ) -> usize {
        let mut header_len = 0;
        for field in Fields::new(entry) {
            match (field.number, field.value) {
                (2, Value::Bytes(scope)) => self.measure_scope(scope, group_of),
                _ => header_len += field.raw.len(),
            }
        }
        header_len
    }

    #[inline]
    fn measure_scope(&mut self, scope: &'a [u8], group_of: &mut impl FnMut(&'a [u8]) -> usize) {
        let (first_record, first_share) = (self.records.len(), self.shares.len());
        let mut header_len = 0;
        for field in Fields::new(scope) {
            let (2, Value::Bytes(record)) = (field.number, field.value) else {
                header_len += field.raw.len();
                continue;
            };
            let group = group_of(record);
            if group >= self.outputs.len() {
                self.outputs.resize_with(group + 1, Output::default);
            }
            let output = &mut self.outputs[group];
            if output.scope_len == 0 {
                self.shares.push((group, 0));
            }
            output.scope_len += field.raw.len();
            self.records.push((group, field.raw));
        }
        for (group, length) in &mut self.shares[first_share..] {
            let output = &mut self.outputs[*group];
            *length = header_len + std::mem::take(&mut output.scope_len);
            if output.entry_len == 0 {
                self.touched.push(*group);
            }
            output.entry_len += 1 + varint_len(*length as u64) + *length;
        }
        self.scopes.push(Scope {
            content: scope,
            header_len,
            records: first_record..self.records.len(),
            shares: first_share..self.shares.len(),
        });
    }

    /// Appends the entry to each group that has records in it.
    fn emit_entry(&mut self, entry: &[u8], header_len: usize, request_len: usize) {
        let outputs_expected = self.outputs.len().max(1);
        for group in &self.touched {
            let output = &mut self.outputs[*group];
            let length = header_len + std::mem::take(&mut output.entry_len);
            if output.request.capacity() == 0 {
                // A fair share with some room, so that a part of an even split grows at most once.
                output.request.reserve((request_len / outputs_expected * 5 / 4).max(length + 8));
            }
            output.request.push(ENTRY_TAG);
            put_varint(&mut output.request, length as u64);
            if header_len > 0 {
                copy_header(entry, &mut output.request);
            }
        }
        for scope in &self.scopes {
            for (group, length) in &self.shares[scope.shares.clone()] {
                let output = &mut self.outputs[*group];
                output.request.push(NESTED_TAG);
                put_varint(&mut output.request, *length as u64);
                if scope.header_len > 0 {
                    copy_header(scope.content, &mut output.request);
                }
            }
            for (group, raw) in &self.records[scope.records.clone()] {
                let output = &mut self.outputs[*group];
                output.request.extend_from_slice(raw);
                output.records += 1;
            }
        }
    }
}

/// Copies the fields of an entry that are not its nested entries (field 2).
fn copy_header(entry: &[u8], output: &mut Vec<u8>) {
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
                    copy_header(scope.content, &mut header);
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
    fn groups_without_records_are_left_out() {
        let parts = regroup_indexed(&request(), |record| if record[0] == b'a' { 7 } else { 2 });
        let keys: Vec<_> = parts.iter().map(|part| (part.key, part.records)).collect();
        assert_eq!(keys, [(2, 6), (7, 3)]);
    }

    #[test]
    fn resource_entries_stay_whole() {
        let request = request();
        let parts = regroup_resources(&request, |entry| entry.schema_url().is_empty());
        assert_eq!(parts.iter().map(|part| part.records).sum::<usize>(), 3);
        let whole: usize = parts.iter().map(|part| part.request.len()).sum();
        assert_eq!(whole, request.len());
    }
}
