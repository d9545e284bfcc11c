//! The requests that one is cut into: their entries' lengths are added up, then each request is
//! written into a buffer of exactly its size.

use super::super::export::{ResourceEntry, ScopeEntry, resources};
use super::super::field::{Field, Fields, Value};
use super::super::write::{put_varint, varint_len};
use super::{Cut, Grouping, Noted};

/// Field 1, length-delimited: a resource entry in a request.
pub(super) const ENTRY_TAG: u8 = 0x0a;
/// Field 2, length-delimited: a scope entry in a resource entry, a record in a scope entry.
pub(super) const NESTED_TAG: u8 = 0x12;

/// The request of a group, and what is being measured for it.
#[derive(Default)]
pub(crate) struct Output {
    pub(super) request: Vec<u8>,
    request_len: usize,
    pub(super) pieces: usize,
    /// Length of the current resource entry's content for this group; 0 if it has none.
    entry_len: usize,
    /// Length of the current scope entry's content for this group; 0 if it has none.
    scope_len: usize,
}

/// Of each group its request, by number.
pub(super) struct Groups<C> {
    outputs: Vec<Output>,
    /// The groups that have pieces in the current resource entry.
    in_entry: Vec<usize>,
    /// The groups that have pieces in the current scope entry.
    in_scope: Vec<usize>,
    lengths: Lengths,
    cut: C,
}

/// How long entries are for each group that has pieces in them.
#[derive(Default)]
struct Lengths {
    of_entries: ByEntry,
    of_scopes: ByEntry,
}

/// Groups and lengths of one kind of entries, in their order.
#[derive(Default)]
struct ByEntry {
    /// How many groups each entry has.
    counts: Vec<u32>,
    /// The groups with the lengths of the entry's content.
    groups: Vec<(usize, usize)>,
}

impl ByEntry {
    fn note(&mut self, groups: impl ExactSizeIterator<Item = (usize, usize)>) {
        self.counts.push(u32::try_from(groups.len()).expect("a group has a piece"));
        self.groups.extend(groups);
    }

    fn told(&self) -> Told<'_> {
        Told { counts: self.counts.iter(), groups: &self.groups }
    }
}

/// Tells what was noted, entry by entry.
struct Told<'l> {
    counts: std::slice::Iter<'l, u32>,
    groups: &'l [(usize, usize)],
}

impl<'l> Told<'l> {
    fn next(&mut self) -> &'l [(usize, usize)] {
        let count = *self.counts.next().expect("every entry was noted") as usize;
        let (entry, rest) = self.groups.split_at(count);
        self.groups = rest;
        entry
    }
}

impl<C: Cut> Groups<C> {
    /// Asks for the group of each piece of `request`, and adds up the lengths.
    pub(super) fn measure<'a>(request: &'a [u8], grouping: &mut impl Grouping<'a>) -> Self {
        let mut groups = Self::with_room();
        for entry in resources(request) {
            grouping.enter_resource(entry);
            groups.measure_entry(entry.content, grouping);
            groups.close_entry();
        }
        groups
    }

    /// Writes the pieces of the request that was measured; `noted` tells their groups again. Some
    /// groups may have none.
    pub(super) fn write(mut self, request: &[u8], noted: &mut Noted<'_>) -> Vec<Output> {
        self.allocate();
        let lengths = std::mem::take(&mut self.lengths);
        let mut lengths = (lengths.of_entries.told(), lengths.of_scopes.told());
        for entry in resources(request) {
            self.write_entry(entry, &mut lengths, noted);
        }
        self.outputs
    }

    /// Empty, with room for what most requests need, so that it is not made bit by bit.
    fn with_room() -> Self {
        const ENTRIES: usize = 16;
        const GROUPS: usize = 8;
        let each = || ByEntry {
            counts: Vec::with_capacity(ENTRIES),
            groups: Vec::with_capacity(ENTRIES * GROUPS),
        };
        Self {
            outputs: Vec::with_capacity(GROUPS),
            in_entry: Vec::with_capacity(GROUPS),
            in_scope: Vec::with_capacity(GROUPS),
            lengths: Lengths { of_entries: each(), of_scopes: each() },
            cut: C::default(),
        }
    }

    /// Adds up, for each group, the length of a resource entry's content.
    fn measure_entry<'a>(&mut self, entry: &'a [u8], grouping: &mut impl Grouping<'a>) {
        self.in_entry.clear();
        let mut header_len = 0;
        for field in Fields::new(entry) {
            let (2, Value::Bytes(scope)) = (field.number, field.value) else {
                header_len += field.raw.len();
                continue;
            };
            grouping.enter_scope(ScopeEntry { content: scope });
            self.measure_scope(scope, grouping);
            let groups = self.in_scope.iter();
            self.lengths
                .of_scopes
                .note(groups.map(|group| (*group, self.outputs[*group].scope_len)));
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
        let groups = self.in_entry.iter();
        self.lengths.of_entries.note(groups.map(|group| (*group, self.outputs[*group].entry_len)));
    }

    /// Adds up, for each group, the length of a scope entry's content.
    #[inline]
    fn measure_scope<'a>(&mut self, scope: &'a [u8], grouping: &mut impl Grouping<'a>) {
        self.in_scope.clear();
        let mut header_len = 0;
        for field in Fields::new(scope) {
            let (2, Value::Bytes(_)) = (field.number, field.value) else {
                header_len += field.raw.len();
                continue;
            };
            self.cut.measure(field, grouping, |group, length| {
                if group >= self.outputs.len() {
                    self.outputs.resize_with(group + 1, Output::default);
                }
                let output = &mut self.outputs[group];
                if output.scope_len == 0 {
                    self.in_scope.push(group);
                }
                output.scope_len += length;
            });
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

    /// Appends a resource entry to each group that has pieces in it.
    fn write_entry(
        &mut self,
        entry: ResourceEntry<'_>,
        (of_entries, of_scopes): &mut (Told<'_>, Told<'_>),
        noted: &mut Noted<'_>,
    ) {
        let groups = of_entries.next();
        self.begin(ENTRY_TAG, groups);
        for field in Fields::new(entry.content) {
            match field.value {
                Value::Bytes(scope) if field.number == 2 => {
                    self.write_scope(scope, of_scopes.next(), noted);
                }
                _ => self.write_to_all(groups, field.raw),
            }
        }
    }

    /// Appends a scope entry to each group that has pieces in it.
    fn write_scope(&mut self, scope: &[u8], groups: &[(usize, usize)], noted: &mut Noted<'_>) {
        self.begin(NESTED_TAG, groups);
        for field in Fields::new(scope) {
            match is_nested(&field) {
                true => self.cut.write(field, noted, &mut self.outputs),
                false => self.write_to_all(groups, field.raw),
            }
        }
    }

    /// Begins an entry in each of these groups.
    fn begin(&mut self, tag: u8, groups: &[(usize, usize)]) {
        for (group, length) in groups {
            put_length_delimited(tag, *length, &mut self.outputs[*group].request);
        }
    }

    fn write_to_all(&mut self, groups: &[(usize, usize)], field: &[u8]) {
        for (group, _) in groups {
            self.outputs[*group].request.extend_from_slice(field);
        }
    }
}

/// Whether a field of an entry is a nested entry or a record.
pub(super) fn is_nested(field: &Field<'_>) -> bool {
    matches!((field.number, field.value), (2, Value::Bytes(_)))
}

/// Length of a field of `length` bytes with its tag (of one byte) and length.
pub(super) fn length_delimited_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

pub(super) fn put_length_delimited(tag: u8, length: usize, output: &mut Vec<u8>) {
    output.push(tag);
    put_varint(output, length as u64);
}
