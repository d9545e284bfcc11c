//! A batch: one OTLP export request, kept as its wire bytes.
//!
//! Invariant: only this file makes a [`Batch`], so whoever holds one may read it without an
//! error path.

use std::hash::Hash;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::metadata::Metadata;
use crate::wire::regroup::entries::EntryPlan;
use crate::wire::regroup::points::Points;
use crate::wire::regroup::{Cut, Plan, Whole};
use crate::wire::{
    self, Checked, Editor, Empties, Grouping, Layout, Malformed, Part, ResourceEntry, Signal,
};

/// One OTLP export request in wire form. Framing checked; clones share bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    items: usize,
    signal: Signal,
    layout: Layout,
    metadata: Option<Arc<Metadata>>,
}

impl Batch {
    /// Checks that `bytes` is an export request of `signal` and counts its items.
    ///
    /// # Errors
    /// [`Malformed`] when it is not; the sender must not retry it.
    pub fn parse(signal: Signal, bytes: Bytes) -> Result<Self, Malformed> {
        let Checked { items, layout } = wire::check(signal, &bytes)?;
        Ok(Self { bytes, items, signal, layout, metadata: None })
    }

    /// The same, sent with `metadata`.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Option<Arc<Metadata>>) -> Self {
        self.metadata = metadata;
        self
    }

    /// A batch of what was cut out of this one, or built by [`wire::Writer`] from records of it.
    ///
    /// `items` is its number of spans, data points or log records.
    pub fn part(&self, bytes: Bytes, items: usize) -> Self {
        let metadata = self.metadata.clone();
        Self { bytes, items, signal: self.signal, layout: self.layout, metadata }
    }

    /// A batch without items.
    pub fn empty(signal: Signal) -> Self {
        Self { bytes: Bytes::new(), items: 0, signal, layout: Layout::Mixed, metadata: None }
    }

    /// Both requests as one: an export request is one repeated field, so joining is
    /// concatenation. Metadata that they do not share is dropped.
    ///
    /// # Panics
    /// When the signals differ.
    pub fn concat(self, other: Batch) -> Batch {
        if self.items == 0 && self.bytes.is_empty() {
            return other;
        }
        Batch::concat_all(vec![self, other]).expect("two batches were given")
    }

    /// All requests as one, copied once; `None` when there are none. Metadata that not all share
    /// is dropped.
    ///
    /// # Panics
    /// When the signals differ.
    pub fn concat_all(mut batches: Vec<Batch>) -> Option<Batch> {
        if batches.len() < 2 {
            return batches.pop();
        }
        let (signal, mut layout) = (batches[0].signal, batches[0].layout);
        let mut bytes =
            BytesMut::with_capacity(batches.iter().map(|batch| batch.bytes.len()).sum());
        let mut items = 0;
        for batch in &batches {
            assert_eq!(batch.signal, signal, "only batches of one signal can be joined");
            if batch.layout != layout {
                layout = Layout::Mixed;
            }
            bytes.extend_from_slice(&batch.bytes);
            items += batch.items;
        }
        let [first, others @ ..] = &batches[..] else { return None };
        let is_shared = others.iter().all(|other| other.same_metadata(first));
        let metadata = first.metadata.clone().filter(|_| is_shared);
        Some(Batch { bytes: bytes.freeze(), items, signal, layout, metadata })
    }

    /// Cuts the batch by a key of each record, in order of first appearance.
    ///
    /// If all records have one key, its batch shares this one's bytes.
    pub fn regroup<K: Eq + Hash + Copy>(&self, key: impl FnMut(&[u8]) -> K) -> Vec<(K, Batch)> {
        let (keys, plan) = Plan::by_key(&self.bytes, self.items, key);
        let parts = self.cut(plan).into_iter();
        parts.map(|(index, batch)| (keys[index], batch)).collect()
    }

    /// Cuts the batch by a group number of each record; groups without a record are left out.
    ///
    /// The numbers should be small. If all records have one group, its batch shares this one's
    /// bytes.
    pub fn regroup_indexed(&self, group: impl FnMut(&[u8]) -> usize) -> Vec<(usize, Batch)> {
        self.cut(Plan::by_record(&self.bytes, self.items, group))
    }

    /// The same by a group number of each record that also depends on where the record stands.
    pub fn regroup_records<'a>(&'a self, grouping: &mut impl Grouping<'a>) -> Vec<(usize, Batch)> {
        self.cut(Plan::<Whole>::new(&self.bytes, self.items, grouping))
    }

    /// Cuts a batch of metrics by a group number of each data point. A metric whose points go to
    /// several groups is repeated for each, with the group's points.
    pub fn regroup_points<'a>(&'a self, grouping: &mut impl Grouping<'a>) -> Vec<(usize, Batch)> {
        assert_eq!(self.signal, Signal::Metrics, "only metrics have data points");
        self.cut(Plan::<Points>::new(&self.bytes, self.items, grouping))
    }

    /// Cuts the batch by a key of each resource entry, which stays whole, in order of first
    /// appearance.
    ///
    /// If all records have one key, its batch shares this one's bytes.
    pub fn regroup_resources<'a, K: Eq + Hash + Copy>(
        &'a self,
        key: impl FnMut(ResourceEntry<'a>) -> K,
    ) -> Vec<(K, Batch)> {
        let plan = EntryPlan::new(&self.bytes, key);
        match plan.only_key() {
            Some(key) => vec![(key, self.clone())],
            None => plan.write().into_iter().map(|part| (part.key, self.part_of(part))).collect(),
        }
    }

    fn cut<C: Cut>(&self, plan: Plan<'_, C>) -> Vec<(usize, Batch)> {
        match plan.only_group() {
            Some(group) => vec![(group, self.clone())],
            None => plan.write().map(|part| (part.key, self.part_of(part))).collect(),
        }
    }

    fn part_of<K>(&self, part: Part<K>) -> Batch {
        let items = match self.signal {
            Signal::Traces | Signal::Logs => part.records,
            Signal::Metrics => wire::count(Signal::Metrics, &part.request),
        };
        self.part(part.request.into(), items)
    }

    /// Writes the batch anew as `editor` has it. If that changes nothing, it shares this one's
    /// bytes. Items that are left out are counted neither here nor anywhere.
    pub fn rewrite<'a>(&'a self, empties: Empties, editor: &mut impl Editor<'a>) -> Batch {
        let Some(request) = wire::rewrite(&self.bytes, empties, editor) else {
            return self.clone();
        };
        // Trace ids may have moved. Whatever an editor writes, readers of a batch end early where
        // its framing breaks.
        let Checked { items, layout } = wire::check(self.signal, &request).unwrap_or_else(|_| {
            Checked { items: wire::count(self.signal, &request), layout: Layout::Mixed }
        });
        Self { layout, ..self.part(request.into(), items) }
    }

    /// What the batch carries.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// What was said with it, if anything was that somebody here reads.
    pub fn metadata(&self) -> Option<&Arc<Metadata>> {
        self.metadata.as_ref()
    }

    /// Whether the two came with equal metadata, so that they may leave as one request.
    pub fn same_metadata(&self, other: &Batch) -> bool {
        match (&self.metadata, &other.metadata) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            _ => false,
        }
    }

    /// The request.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Spans, data points or log records in it.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Where its records keep their trace id.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The trace id of one of this batch's spans or log records: 16 bytes, or none.
    #[inline]
    pub fn trace_id<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        match self.signal {
            Signal::Traces => wire::span::trace_id(record, self.layout),
            Signal::Logs => wire::log::trace_id(record),
            Signal::Metrics => &[],
        }
    }
}

/// Without the bytes: they are many, and they are the users'.
impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, items, signal, layout, metadata } = self;
        write!(f, "Batch({signal}, {items} items, {} bytes, {layout:?}", bytes.len())?;
        match metadata {
            Some(metadata) => write!(f, ", {metadata:?})"),
            None => f.write_str(")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::testing::tenant;
    use crate::wire::Writer;

    fn batch(names: &[&[u8]], leading: bool) -> Batch {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(2, |scope| {
                for name in names {
                    scope.message(2, |span| {
                        if leading {
                            span.bytes(1, &[1; 16]);
                        }
                        span.bytes(5, name);
                        if !leading {
                            span.bytes(1, &[1; 16]);
                        }
                    });
                }
            });
        });
        Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
    }

    #[test]
    fn joining_keeps_every_item() {
        let joined = batch(&[b"a", b"b"], true).concat(batch(&[b"c"], true));
        assert_eq!(joined, Batch::parse(Signal::Traces, joined.bytes().clone()).unwrap());
        assert_eq!((joined.items(), joined.layout()), (3, Layout::Leading));
    }

    #[test]
    fn joined_layouts_agree_or_are_mixed() {
        let joined = batch(&[b"a"], true).concat(batch(&[b"b"], false));
        assert_eq!(joined.layout(), Layout::Mixed);
        let joined = Batch::empty(Signal::Traces).concat(batch(&[b"b"], false));
        assert_eq!(joined.layout(), Layout::Trailing);
    }

    #[test]
    fn metadata_goes_with_parts_and_with_joined_batches_that_share_it() {
        let (one, other) = (batch(&[b"a", b"b"], true), batch(&[b"c"], true));
        let (one, other) = (one.with_metadata(tenant("1")), other.with_metadata(tenant("1")));
        for (_, part) in one.regroup(|span| wire::Span::read(span).name == b"a") {
            assert!(part.same_metadata(&one));
        }
        assert!(one.clone().concat(other.clone()).same_metadata(&one));
        let stranger = other.with_metadata(tenant("2"));
        assert!(!stranger.same_metadata(&one));
        assert_eq!(one.concat(stranger).metadata(), None);
    }

    #[test]
    fn a_part_of_all_records_shares_the_bytes() {
        let batch = batch(&[b"a", b"b"], true);
        let [(7, part)] = &batch.regroup_indexed(|_| 7)[..] else { panic!("one part") };
        assert_eq!(part.bytes().as_ptr(), batch.bytes().as_ptr());
        assert_eq!(part, &batch);
    }

    #[test]
    fn parts_are_batches_in_their_own_right() {
        let batch = batch(&[b"a", b"b", b"a"], true);
        let parts = batch.regroup(|span| wire::Span::read(span).name == b"a");
        let items: Vec<_> = parts.iter().map(|(key, part)| (*key, part.items())).collect();
        assert_eq!(items, [(true, 2), (false, 1)]);
        for (_, part) in parts {
            assert_eq!(part, Batch::parse(Signal::Traces, part.bytes().clone()).unwrap());
        }
    }

    #[test]
    fn parts_of_metrics_count_data_points() {
        let mut writer = Writer::new();
        for points in [2, 3] {
            writer.message(1, |entry| {
                entry.message(2, |scope| {
                    scope.message(2, |metric| {
                        metric.message(5, |gauge| (0..points).for_each(|_| gauge.bytes(1, b"")));
                    });
                });
            });
        }
        let batch = Batch::parse(Signal::Metrics, writer.into_vec().into()).unwrap();
        let items = |parts: Vec<(usize, Batch)>| -> Vec<usize> {
            parts.iter().map(|(_, part)| part.items()).collect()
        };
        let mut group = 0..;
        assert_eq!(items(batch.regroup_indexed(|_| group.next().unwrap())), [2, 3]);
        let mut group = 0..;
        assert_eq!(items(batch.regroup_resources(|_| group.next().unwrap())), [2, 3]);
    }

    #[test]
    fn metrics_are_cut_by_point_and_shared_when_all_points_have_one_group() {
        /// Tells these groups, one after the other.
        struct Told<const N: usize>([usize; N], usize);
        impl<'a, const N: usize> Grouping<'a> for Told<N> {
            fn group(&mut self, _: &'a [u8]) -> usize {
                self.1 += 1;
                self.0[self.1 - 1]
            }
        }
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(2, |scope| {
                scope.message(2, |metric| {
                    metric.bytes(1, b"requests");
                    metric.message(5, |gauge| (0..3).for_each(|_| gauge.bytes(1, b"")));
                });
            });
        });
        let batch = Batch::parse(Signal::Metrics, writer.into_vec().into()).unwrap();
        let parts = batch.regroup_points(&mut Told([2, 0, 2], 0));
        let items: Vec<_> = parts.iter().map(|(group, part)| (*group, part.items())).collect();
        assert_eq!(items, [(0, 1), (2, 2)]);
        let whole = batch.regroup_points(&mut Told([1; 3], 0));
        assert_eq!(whole, [(1, batch.clone())]);
        assert_eq!(whole[0].1.bytes().as_ptr(), batch.bytes().as_ptr());
    }

    #[test]
    fn the_trace_id_of_a_log_record_is_found() {
        let mut record = Writer::new();
        record.bytes(9, &[3; 16]);
        record.bytes(10, &[4; 8]);
        assert_eq!(Batch::empty(Signal::Logs).trace_id(record.as_slice()), [3; 16]);
    }

    #[test]
    fn bytes_that_are_no_request_are_refused() {
        assert!(Batch::parse(Signal::Traces, Bytes::from_static(&[0x0a, 5])).is_err());
    }
}
