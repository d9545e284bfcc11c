//! Span bytes in an append-only log of segments.
//!
//! ```text
//! segment: │ span field │ span field │ span field │ …        bytes, about 1 MiB
//!          └── run 0 ─────────────┘ └─ run 1 ───┘            20 bytes of index each
//!          └── of stretch 0 ──────┘ └ of stretch 1           20 more for each stretch
//! ```
//!
//! A *run* is a number of spans of one trace under one scope that stand in a row, kept as the fields
//! they were in their scope entry, so that writing them out is one copy. A *stretch* is a chain of runs
//! of a trace in one segment, from the last to the first. The stretches of a trace form a chain too, so
//! a trace is let go of by looking at about one place for each segment that it is in. The index of a
//! segment lies beside its bytes and goes with them. It holds the scope headers that its runs are
//! under until it goes; when it is packed or sealed, it lets go of those it has no live run under.
//!
//! [`Log::upkeep`] works on full segments, a little at a time: it seals their bytes if they are to
//! be compressed, and packs those of which much was let go early. Runs keep their places in the
//! index, so nobody else knows of it.
//!
//! Invariants: a segment is dropped or used again when its last span is let go; one that holds
//! bytes has a span that lives. With one wait for all traces the segments empty in their order.

use std::collections::VecDeque;

use super::sealing::{Compression, Rewriting, Table, Text};
use super::slab::Slab;
use segment::{IndexSize, NO_RUN, Segment};
use spares::Spares;

mod look_ahead;
mod reading;
mod segment;
mod spares;
mod upkeep;

pub(super) use reading::Gathered;

/// A run's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunId {
    segment: u32,
    index: u32,
}

/// A stretch's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StretchId {
    segment: u32,
    index: u32,
}

/// Marks the first stretch of a trace.
const NONE: StretchId = StretchId { segment: u32::MAX, index: u32::MAX };

/// What is known of a run without reading it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunView {
    /// Number of the scope header it is under.
    pub(super) scope: u32,
    /// How many spans it holds.
    pub(super) spans: usize,
    /// How many bytes these are, as fields of a scope entry.
    pub(super) length: usize,
}

/// What [`Log::append`] made of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    /// A run of its own, in this stretch.
    Run(StretchId),
    /// The end of its trace's last run.
    Extension,
}

/// What is kept apart, so that spans which leave at once make no holes among those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Spans of traces that wait.
    Waiting,
    /// Spans that leave soon.
    Leaving,
}

/// The log of a shard.
#[derive(Debug)]
pub(super) struct Log {
    segments: Slab<Segment>,
    /// The segments that are written to, one for each [`Lane`].
    current: [Option<u32>; 2],
    segment_bytes: usize,
    compression: Compression,
    serial: u64,
    /// Segments to seal or to pack, by number and serial.
    listed: VecDeque<(u32, u64)>,
    /// The segment of which this is being done.
    rewriting: Option<(u32, u64, Rewriting)>,
    table: Table,
    /// Buffers of `segment_bytes`.
    spares: Spares,
    /// Of the segment that was filled last: about as much the next will have.
    typical: IndexSize,
    /// Bytes of all segments; an index counts when its segment is full.
    allocated: usize,
    spans: usize,
    /// Scope headers that segments held.
    freed_scopes: Vec<u32>,
}

/// Bytes of a segment, but for tests.
pub(super) const SEGMENT_BYTES: usize = 1 << 20;

impl Log {
    /// An empty log of segments of `segment_bytes` bytes.
    pub(super) fn new(segment_bytes: usize, compression: Compression) -> Self {
        Self {
            segments: Slab::default(),
            current: [None; 2],
            segment_bytes,
            compression,
            serial: 0,
            listed: VecDeque::new(),
            rewriting: None,
            table: Table::default(),
            spares: Spares::default(),
            typical: IndexSize::default(),
            allocated: 0,
            spans: 0,
            freed_scopes: Vec::new(),
        }
    }

    /// Appends a span, given as a field of its scope entry, to the trace whose last stretch is `last`.
    #[inline]
    pub(super) fn append(&mut self, last: Option<StretchId>, scope: u32, span: &[u8]) -> Appended {
        self.append_in(Lane::Waiting, last, scope, span)
    }

    /// Appends a span that leaves soon, as a stretch by itself.
    pub(super) fn append_leaving(&mut self, scope: u32, span: &[u8]) -> StretchId {
        match self.append_in(Lane::Leaving, None, scope, span) {
            Appended::Run(stretch) => stretch,
            Appended::Extension => unreachable!("a stretch begins with a run"),
        }
    }

    #[inline]
    fn append_in(
        &mut self,
        lane: Lane,
        last: Option<StretchId>,
        scope: u32,
        span: &[u8],
    ) -> Appended {
        self.spans += 1;
        let number = self.segment_for(span.len(), lane);
        let segment = &mut self.segments[number];
        let index = match last {
            Some(last) if last.segment == number => last.index,
            _ => segment.begin_stretch(last),
        };
        match segment.append(index, scope, span) {
            true => Appended::Run(StretchId { segment: number, index }),
            false => Appended::Extension,
        }
    }

    /// Notes the scope header that a run of a stretch is under. `hold` is told a number that only
    /// this segment has; unless the header was noted for it just before, it tells how many bytes are
    /// held only by that.
    #[inline]
    pub(super) fn note_scope(
        &mut self,
        stretch: StretchId,
        scope: u32,
        hold: impl FnOnce(u64) -> Option<usize>,
    ) {
        let segment = &mut self.segments[stretch.segment];
        if let Some(bytes) = hold(segment.serial) {
            segment.scopes.push(scope);
            segment.header_bytes += bytes;
        }
    }

    /// A scope header that a segment noted and holds no longer: each as often as it was noted.
    #[inline]
    pub(super) fn take_freed_scope(&mut self) -> Option<u32> {
        self.freed_scopes.pop()
    }

    /// Whether there are such.
    pub(super) fn has_freed_scopes(&self) -> bool {
        !self.freed_scopes.is_empty()
    }

    /// The segment that a span of `length` bytes is written to.
    fn segment_for(&mut self, length: usize, lane: Lane) -> u32 {
        if length > self.segment_bytes / 4 {
            // A giant gets a segment of its own size, so that no other is cut short by it.
            let size = IndexSize { runs: 1, stretches: 1, scopes: 1 };
            let number = self.begin(Vec::with_capacity(length), size);
            self.allocated += self.segments[number].index_allocated();
            self.list_to_seal(number, lane);
            return number;
        }
        if let Some(current) = self.current[lane as usize] {
            let segment = &mut self.segments[current];
            let bytes = segment.plain();
            if bytes.capacity() - bytes.len() >= length && !segment.is_full(self.segment_bytes) {
                return current;
            }
            self.fill(current, lane);
        }
        let bytes = self.spares.take().unwrap_or_else(|| Vec::with_capacity(self.segment_bytes));
        let number = self.begin(bytes, self.typical.with_some_more());
        self.current[lane as usize] = Some(number);
        number
    }

    fn begin(&mut self, bytes: Vec<u8>, size: IndexSize) -> u32 {
        self.allocated += bytes.capacity();
        let serial = self.next_serial();
        self.segments.insert(Segment::new(serial, bytes, size))
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Nothing more is written to a segment.
    fn fill(&mut self, number: u32, lane: Lane) {
        let segment = &mut self.segments[number];
        let is_hollow = lane == Lane::Waiting && segment.is_hollow();
        self.typical = segment.index_size();
        segment.shrink_index();
        self.allocated += segment.index_allocated();
        let bytes = segment.plain();
        if bytes.len() < bytes.capacity() / 2 {
            // Its headers or its index filled it.
            self.allocated -= bytes.capacity();
            bytes.shrink_to_fit();
            self.allocated += bytes.capacity();
        }
        if is_hollow {
            self.list(number);
        }
        self.list_to_seal(number, lane);
    }

    fn list_to_seal(&mut self, number: u32, lane: Lane) {
        if lane == Lane::Waiting && self.compression != Compression::None {
            self.list(number);
        }
    }

    fn list(&mut self, number: u32) {
        let segment = &mut self.segments[number];
        if !segment.is_listed {
            segment.is_listed = true;
            self.listed.push_back((number, segment.serial));
        }
    }

    /// What is known of a run.
    #[inline]
    pub(super) fn run(&self, id: RunId) -> RunView {
        let run = &self.segments[id.segment].runs[id.index as usize];
        RunView { scope: run.scope, spans: run.spans as usize, length: run.length as usize }
    }

    /// The stretch before another of the same trace.
    #[inline]
    pub(super) fn before(&self, id: StretchId) -> Option<StretchId> {
        let before = self.segments[id.segment].stretches[id.index as usize].before;
        (before != NONE).then_some(before)
    }

    /// The runs of a stretch, from its end to its beginning.
    pub(super) fn runs(&self, id: StretchId) -> impl Iterator<Item = RunId> + '_ {
        let segment = &self.segments[id.segment];
        let some = |index: u32| (index != NO_RUN).then_some(index);
        let last = some(segment.stretches[id.index as usize].last);
        std::iter::successors(last, move |index| some(segment.runs[*index as usize].before))
            .map(move |index| RunId { segment: id.segment, index })
    }

    /// The runs of the chain of stretches that ends with `last`, from its end to its beginning.
    pub(super) fn chain(&self, last: Option<StretchId>) -> impl Iterator<Item = RunId> + '_ {
        std::iter::successors(last, |id| self.before(*id)).flat_map(|id| self.runs(id))
    }

    /// Lets go of a run, once, of a stretch that will not be let go as a whole.
    pub(super) fn release_run(&mut self, id: RunId) {
        let spans = self.segments[id.segment].release_run(id.index);
        self.let_go(id.segment, spans);
    }

    /// Lets go of a stretch, once; tells how many spans it had.
    pub(super) fn release(&mut self, id: StretchId) -> usize {
        let spans = self.segments[id.segment].release(id.index);
        self.let_go(id.segment, spans);
        spans
    }

    /// Lets go of a stretch long before its segment would be empty; tells how many spans it had.
    pub(super) fn release_early(&mut self, id: StretchId) -> usize {
        let serial = self.segments[id.segment].serial;
        let spans = self.release(id);
        if let Some(segment) = self.segments.get(id.segment)
            && segment.serial == serial
            && !self.current.contains(&Some(id.segment))
            && segment.is_hollow()
        {
            self.list(id.segment);
        }
        spans
    }

    /// So many spans of a segment are no longer needed.
    fn let_go(&mut self, number: u32, spans: usize) {
        self.spans -= spans;
        if self.segments[number].live_spans > 0 {
            return;
        }
        if self.current.contains(&Some(number)) {
            let serial = self.next_serial();
            self.segments[number].clear(serial, &mut self.freed_scopes);
            return;
        }
        let mut segment = self.segments.remove(number);
        self.allocated -= segment.allocated();
        self.freed_scopes.append(&mut segment.scopes);
        self.recycle(segment.text);
    }

    fn recycle(&mut self, text: Text) {
        if let Text::Plain(bytes) = text
            && bytes.capacity() == self.segment_bytes
        {
            self.spares.keep(bytes);
        }
    }

    /// Gives back what has not been needed for a while.
    pub(super) fn trim(&mut self) {
        for lane in [Lane::Waiting, Lane::Leaving] {
            if let Some(current) = self.current[lane as usize]
                && self.segments[current].live_spans == 0
            {
                self.current[lane as usize] = None;
                let segment = self.segments.remove(current);
                debug_assert!(segment.scopes.is_empty(), "it was cleared with its last span");
                self.allocated -= segment.text.allocated();
            }
        }
        self.segments.shrink();
        self.freed_scopes.shrink_to_fit();
        self.spares.trim();
    }

    /// Gives back all spare buffers.
    pub(super) fn drop_spares(&mut self) {
        self.spares.shrink_to(0);
    }

    /// Spans in the log.
    pub(super) fn spans(&self) -> usize {
        self.spans
    }

    /// Bytes of all segments and of the spare buffers.
    pub(super) fn allocated(&self) -> usize {
        let rewriting = self.rewriting.as_ref().map_or(0, |(.., rewriting)| rewriting.allocated());
        let freed = self.freed_scopes.capacity() * size_of::<u32>();
        self.allocated + self.spares.allocated() + rewriting + freed
    }
}

#[cfg(test)]
mod tests;
