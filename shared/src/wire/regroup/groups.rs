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
    /// Length of the pieces in the current resource entry for this group; 0 if it has none.
    entry_len: usize,
    /// Length of the pieces in the current scope entry for this group; 0 if it has none.
    scope_len: usize,
}

/// Of each group its request, by number, and what it gets of each entry.
pub(super) struct Groups<C> {
    outputs: Vec<Output>,
    of_entries: Shares,
    of_scopes: Shares,
    cut: C,
}

/// What a group gets of an entry.
#[derive(Clone, Copy)]
struct Share {
    group: u32,
    /// Length of the entry's content for it.
    length: u32,
}

/// The shares of all entries of one kind, entry by entry. In front of an entry's shares stands
/// one that is none: its `length` is how many they are.
struct Shares(Vec<Share>);

impl Shares {
    fn with_room(entries: usize, groups: usize) -> Self {
        Self(Vec::with_capacity(entries * (1 + groups)))
    }

    /// Begins the next entry; tells where its shares will stand.
    fn begin(&mut self) -> usize {
        self.0.push(Share { group: u32::MAX, length: 0 });
        self.0.len()
    }

    /// A further group has pieces in the entry.
    fn push(&mut self, group: usize) {
        let group = u32::try_from(group).expect("group numbers are small");
        self.0.push(Share { group, length: 0 });
    }

    /// The shares of the entry that was begun here, all of them.
    fn end(&mut self, start: usize) -> &mut [Share] {
        self.0[start - 1].length = below_4_gib(self.0.len() - start);
        &mut self.0[start..]
    }
}

/// Tells shares again, entry by entry.
struct Told<'s>(&'s [Share]);

impl<'s> Told<'s> {
    fn next(&mut self) -> &'s [Share] {
        let (head, rest) = self.0.split_first().expect("every entry was measured");
        let (entry, rest) = rest.split_at(head.length as usize);
        self.0 = rest;
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
        }
        groups
    }

    /// Writes the pieces of the request that was measured; `noted` tells their groups again. Some
    /// groups may have none.
    pub(super) fn write(mut self, request: &[u8], noted: &mut Noted<'_>) -> Vec<Output> {
        for output in &mut self.outputs {
            output.request.reserve_exact(output.request_len);
        }
        let (of_entries, of_scopes) = (Told(&self.of_entries.0), Told(&self.of_scopes.0));
        let mut writing = Writing { outputs: self.outputs, of_entries, of_scopes, cut: self.cut };
        for entry in resources(request) {
            writing.write_entry(entry, noted);
        }
        writing.outputs
    }

    /// Empty, with room for what most requests need, so that it is not made bit by bit.
    fn with_room() -> Self {
        const ENTRIES: usize = 16;
        const GROUPS: usize = 8;
        Self {
            outputs: Vec::with_capacity(GROUPS),
            of_entries: Shares::with_room(ENTRIES, GROUPS),
            of_scopes: Shares::with_room(ENTRIES, GROUPS),
            cut: C::default(),
        }
    }

    /// Adds up, for each group, the length of a resource entry's content.
    fn measure_entry<'a>(&mut self, entry: &'a [u8], grouping: &mut impl Grouping<'a>) {
        let start = self.of_entries.begin();
        let mut header_len = 0;
        for field in Fields::new(entry) {
            let (2, Value::Bytes(scope)) = (field.number, field.value) else {
                header_len += field.raw.len();
                continue;
            };
            grouping.enter_scope(ScopeEntry { content: scope });
            self.measure_scope(scope, grouping);
        }
        for share in self.of_entries.end(start) {
            let output = &mut self.outputs[share.group as usize];
            let length = header_len + std::mem::take(&mut output.entry_len);
            share.length = below_4_gib(length);
            output.request_len += length_delimited_len(length);
        }
    }

    /// Adds up, for each group, the length of a scope entry's content, and counts it in with the
    /// resource entry.
    #[inline]
    fn measure_scope<'a>(&mut self, scope: &'a [u8], grouping: &mut impl Grouping<'a>) {
        let Self { outputs, of_entries, of_scopes, cut } = self;
        let start = of_scopes.begin();
        let mut header_len = 0;
        for field in Fields::new(scope) {
            let (2, Value::Bytes(_)) = (field.number, field.value) else {
                header_len += field.raw.len();
                continue;
            };
            cut.measure(field, grouping, |group, length| {
                if group >= outputs.len() {
                    outputs.resize_with(group + 1, Output::default);
                }
                let output = &mut outputs[group];
                if output.scope_len == 0 {
                    of_scopes.push(group);
                }
                output.scope_len += length;
            });
        }
        for share in of_scopes.end(start) {
            let group = share.group as usize;
            let output = &mut outputs[group];
            let length = header_len + std::mem::take(&mut output.scope_len);
            share.length = below_4_gib(length);
            if output.entry_len == 0 {
                of_entries.push(group);
            }
            output.entry_len += length_delimited_len(length);
        }
    }
}

/// Writes what was measured.
struct Writing<'s, C> {
    outputs: Vec<Output>,
    of_entries: Told<'s>,
    of_scopes: Told<'s>,
    cut: C,
}

impl<C: Cut> Writing<'_, C> {
    /// Appends a resource entry to each group that has pieces in it.
    fn write_entry(&mut self, entry: ResourceEntry<'_>, noted: &mut Noted<'_>) {
        let shares = self.of_entries.next();
        self.begin(ENTRY_TAG, shares);
        for field in Fields::new(entry.content) {
            match field.value {
                Value::Bytes(scope) if field.number == 2 => self.write_scope(scope, noted),
                _ => self.write_to_all(shares, field.raw),
            }
        }
    }

    /// Appends a scope entry to each group that has pieces in it.
    fn write_scope(&mut self, scope: &[u8], noted: &mut Noted<'_>) {
        let shares = self.of_scopes.next();
        self.begin(NESTED_TAG, shares);
        for field in Fields::new(scope) {
            match is_nested(&field) {
                true => self.cut.write(field, noted, &mut self.outputs),
                false => self.write_to_all(shares, field.raw),
            }
        }
    }

    /// Begins an entry in each group that has a share of it.
    fn begin(&mut self, tag: u8, shares: &[Share]) {
        for share in shares {
            let request = &mut self.outputs[share.group as usize].request;
            put_length_delimited(tag, share.length as usize, request);
        }
    }

    fn write_to_all(&mut self, shares: &[Share], field: &[u8]) {
        for share in shares {
            self.outputs[share.group as usize].request.extend_from_slice(field);
        }
    }
}

fn below_4_gib(length: usize) -> u32 {
    u32::try_from(length).expect("a request is below 4 GiB")
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
