//! Cuts one request into several, by a group of each record or of each data point.
//!
//! Every output is a request again. A record keeps its bytes, and it keeps its resource entry and
//! scope entry with all their fields, unknown ones included; only the two length prefixes above
//! it are new. Entries that hold no record are left out, and so are unknown fields of the request
//! itself, which belong to no record. How a metric is cut by its data points is told in
//! [`points`].
//!
//! A `Plan` asks for every piece's group and adds up the lengths; then each output is written
//! into a buffer of exactly its size. The framing is walked again for that, which costs less than
//! remembering it: a walk skips over the records, and what is kept between the two is four bytes
//! a piece and two numbers for each group in an entry, however the request was put together.
//!
//! Each part repeats the headers of the entries it has records of. A caller that makes many parts
//! of what strangers send should therefore look at the sum of their lengths.

pub mod entries;
pub mod points;
#[cfg(test)]
mod tests;

use std::hash::Hash;

use hashbrown::HashMap;

use super::export::{ResourceEntry, ScopeEntry, resources};
use super::field::{Field, Fields, Value};
use super::metric::Metric;
use super::write::{put_varint, varint_len};

pub use entries::regroup_resources;
pub use points::regroup_points;

/// One of the requests that a request was cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<K> {
    /// What the records of this part have in common.
    pub key: K,
    /// An export request.
    pub request: Vec<u8>,
    /// Its number of pieces: records (spans, log records, metrics), or data points where metrics
    /// are cut by them; at least one. [`super::count`] tells a metrics request's data points.
    pub records: usize,
}

/// Tells the group of each piece of a request, and is told before where the piece stands.
///
/// The numbers of groups should be small: there is an output for each up to the largest.
pub trait Grouping<'a> {
    /// The next pieces are of this resource entry.
    #[inline]
    fn enter_resource(&mut self, _entry: ResourceEntry<'a>) {}

    /// The next pieces are of this scope entry.
    #[inline]
    fn enter_scope(&mut self, _scope: ScopeEntry<'a>) {}

    /// The next data points are of this metric. Only told where metrics are cut by data points.
    #[inline]
    fn enter_metric(&mut self, _metric: &Metric<'a>) {}

    /// The group of a record or a data point.
    fn group(&mut self, piece: &'a [u8]) -> usize;
}

/// Groups by the piece alone.
struct ByPiece<F>(F);

impl<'a, F: FnMut(&'a [u8]) -> usize> Grouping<'a> for ByPiece<F> {
    #[inline]
    fn group(&mut self, piece: &'a [u8]) -> usize {
        self.0(piece)
    }
}

/// Cuts `request` by a key of each record, in order of first appearance.
pub fn regroup<K: Eq + Hash + Copy>(request: &[u8], key: impl FnMut(&[u8]) -> K) -> Vec<Part<K>> {
    let (keys, plan) = Plan::by_key(request, pieces_in(request), key);
    let parts = plan.write();
    parts.map(|Part { key, request, records }| Part { key: keys[key], request, records }).collect()
}

/// Cuts `request` by a group number of each record; groups without a record are left out.
///
/// The numbers should be small: there is an output for each up to the largest.
pub fn regroup_indexed(request: &[u8], group: impl FnMut(&[u8]) -> usize) -> Vec<Part<usize>> {
    Plan::by_record(request, pieces_in(request), group).write().collect()
}

/// A guess at the number of pieces, where nobody has counted them.
fn pieces_in(request: &[u8]) -> usize {
    request.len() / 256
}

/// Field 1, length-delimited: a resource entry in a request.
const ENTRY_TAG: u8 = 0x0a;
/// Field 2, length-delimited: a scope entry in a resource entry, a record in a scope entry.
const NESTED_TAG: u8 = 0x12;

/// What of a record each group gets.
pub(crate) trait Cut: Default {
    /// Asks for the group of each piece of `record` and tells the length of the field that each
    /// group gets, once for each group.
    fn measure<'a>(
        &mut self,
        record: Field<'a>,
        grouping: &mut impl Grouping<'a>,
        gets: impl FnMut(usize, usize),
    );

    /// Appends to each group its field; `noted` tells the groups again.
    fn write(&mut self, record: Field<'_>, noted: &mut Noted<'_>, outputs: &mut [Output]);
}

/// Leaves records whole.
#[derive(Default)]
pub(crate) struct Whole;

impl Cut for Whole {
    #[inline]
    fn measure<'a>(
        &mut self,
        record: Field<'a>,
        grouping: &mut impl Grouping<'a>,
        mut gets: impl FnMut(usize, usize),
    ) {
        let group = grouping.group(record.value.bytes().unwrap_or_default());
        gets(group, record.raw.len());
    }

    #[inline]
    fn write(&mut self, record: Field<'_>, noted: &mut Noted<'_>, outputs: &mut [Output]) {
        let output = &mut outputs[noted.group(&[])];
        output.request.extend_from_slice(record.raw);
        output.pieces += 1;
    }
}

/// Which group each piece of a request goes to, and how long each group's request will be.
pub(crate) struct Plan<'a, C = Whole> {
    request: &'a [u8],
    /// The group of every piece, in their order.
    group_of_piece: Vec<u32>,
    groups: Groups<C>,
}

impl<'a> Plan<'a> {
    /// Asks for every record's group number.
    pub(crate) fn by_record(
        request: &'a [u8],
        pieces: usize,
        group: impl FnMut(&'a [u8]) -> usize,
    ) -> Self {
        Plan::new(request, pieces, &mut ByPiece(group))
    }

    /// Asks for every record's key and numbers the keys in order of first appearance.
    pub(crate) fn by_key<K: Eq + Hash + Copy>(
        request: &'a [u8],
        pieces: usize,
        mut key: impl FnMut(&'a [u8]) -> K,
    ) -> (Vec<K>, Self) {
        let mut keys: Vec<K> = Vec::new();
        let mut index_of: HashMap<K, usize> = HashMap::new();
        let plan = Plan::by_record(request, pieces, |record| {
            let key = key(record);
            *index_of.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            })
        });
        (keys, plan)
    }
}

impl<'a, C: Cut> Plan<'a, C> {
    /// Asks for every piece's group number; there is room for so many pieces at first.
    pub(crate) fn new(request: &'a [u8], pieces: usize, grouping: &mut impl Grouping<'a>) -> Self {
        let mut groups = Groups::with_room();
        let mut noting = Noting { grouping, group_of_piece: Vec::with_capacity(pieces) };
        for entry in resources(request) {
            noting.grouping.enter_resource(entry);
            groups.measure_entry(entry.content, &mut noting);
            groups.close_entry();
        }
        Self { request, group_of_piece: noting.group_of_piece, groups }
    }

    /// The group that all pieces go to; `None` when there are several, or no piece at all.
    pub(crate) fn only_group(&self) -> Option<usize> {
        let first = *self.group_of_piece.first()?;
        self.group_of_piece.iter().all(|group| *group == first).then_some(first as usize)
    }

    /// Writes the request of each group that has a piece.
    pub(crate) fn write(mut self) -> impl Iterator<Item = Part<usize>> {
        let mut noted = Noted(self.group_of_piece.iter());
        self.groups.allocate();
        let lengths = std::mem::take(&mut self.groups.lengths);
        let mut lengths = (lengths.of_entries.told(), lengths.of_scopes.told());
        for entry in resources(self.request) {
            self.groups.write_entry(entry, &mut lengths, &mut noted);
        }
        let outputs = self.groups.outputs.into_iter().enumerate();
        outputs.filter(|(_, output)| output.pieces > 0).map(|(key, output)| Part {
            key,
            request: output.request,
            records: output.pieces,
        })
    }
}

/// Writes down what a grouping tells.
struct Noting<'g, G> {
    grouping: &'g mut G,
    group_of_piece: Vec<u32>,
}

impl<'a, G: Grouping<'a>> Grouping<'a> for Noting<'_, G> {
    #[inline]
    fn enter_scope(&mut self, scope: ScopeEntry<'a>) {
        self.grouping.enter_scope(scope);
    }

    #[inline]
    fn enter_metric(&mut self, metric: &Metric<'a>) {
        self.grouping.enter_metric(metric);
    }

    #[inline]
    fn group(&mut self, piece: &'a [u8]) -> usize {
        let group = self.grouping.group(piece);
        self.group_of_piece.push(u32::try_from(group).expect("group numbers are small"));
        group
    }
}

/// Tells the groups that were written down, piece by piece in the same order.
#[derive(Clone)]
pub(crate) struct Noted<'g>(std::slice::Iter<'g, u32>);

impl<'a> Grouping<'a> for Noted<'_> {
    #[inline]
    fn group(&mut self, _: &'a [u8]) -> usize {
        *self.0.next().expect("every piece was given a group") as usize
    }
}

/// The request of a group, and what is being measured for it.
#[derive(Default)]
pub(crate) struct Output {
    request: Vec<u8>,
    request_len: usize,
    pieces: usize,
    /// Length of the current resource entry's content for this group; 0 if it has none.
    entry_len: usize,
    /// Length of the current scope entry's content for this group; 0 if it has none.
    scope_len: usize,
}

struct Groups<C> {
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
fn is_nested(field: &Field<'_>) -> bool {
    matches!((field.number, field.value), (2, Value::Bytes(_)))
}

/// Length of a field of `length` bytes with its tag (of one byte) and length.
fn length_delimited_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

fn put_length_delimited(tag: u8, length: usize, output: &mut Vec<u8>) {
    output.push(tag);
    put_varint(output, length as u64);
}
