//! Cuts one request into several, by a group of each record or of each data point.
//!
//! Every output is a request again. A record keeps its bytes, and it keeps its resource entry and
//! scope entry with all their fields, unknown ones included; only the two length prefixes above
//! it are new. Entries that hold no record are left out, and so are unknown fields of the request
//! itself, which belong to no record. How a metric is cut by its data points is told in
//! [`points`].
//!
//! A `Plan` asks for every piece's group while `groups` adds up the lengths; then each output is
//! written into a buffer of exactly its size. The framing is walked again for that, which costs
//! less than remembering it: a walk skips over the records, and what is kept between the two is
//! four bytes a piece, eight an entry and eight for each group in it, however the request was put
//! together.
//!
//! Each part repeats the headers of the entries it has records of. A caller that makes many parts
//! of what strangers send should therefore look at the sum of their lengths.

pub mod entries;
mod groups;
pub mod points;
#[cfg(test)]
mod tests;

use std::hash::Hash;

use hashbrown::HashMap;

use super::export::{ResourceEntry, ScopeEntry};
use super::field::Field;
use super::metric::Metric;
use groups::{Groups, Output};

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
        let mut noting = Noting { grouping, group_of_piece: Vec::with_capacity(pieces) };
        let groups = Groups::measure(request, &mut noting);
        Self { request, group_of_piece: noting.group_of_piece, groups }
    }

    /// The group that all pieces go to; `None` when there are several, or no piece at all.
    pub(crate) fn only_group(&self) -> Option<usize> {
        let first = *self.group_of_piece.first()?;
        self.group_of_piece.iter().all(|group| *group == first).then_some(first as usize)
    }

    /// Writes the request of each group that has a piece.
    pub(crate) fn write(self) -> impl Iterator<Item = Part<usize>> {
        let mut noted = Noted(self.group_of_piece.iter());
        let outputs = self.groups.write(self.request, &mut noted).into_iter().enumerate();
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
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) {
        self.grouping.enter_resource(entry);
    }

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
