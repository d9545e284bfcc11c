//! Span bytes in an append-only log of segments.
//!
//! ```text
//! segment: │ span field │ span field │ span field │ …        bytes, about 1 MiB
//!          └── run 0 ─────────────┘ └─ run 1 ───┘            24 bytes of index each
//! ```
//!
//! A *run* is a stretch of spans of one trace under one scope, kept as the fields they were in
//! their scope entry, so that writing them out is one copy. The runs of a trace form a chain from
//! the last to the first. The index of a segment lies beside its bytes and goes with them.
//!
//! [`Log::upkeep`] works on full segments, a little at a time: it seals their bytes if they are to
//! be compressed, and packs those of which much was let go early. Runs keep their places in the
//! index, so nobody else knows of it.
//!
//! Invariants: a segment is dropped or used again when its last run is released; one that holds
//! bytes has a run that lives. With one wait for all traces the segments empty in their order.

use std::collections::VecDeque;

use super::sealing::{Compression, Rewriting, Table, Text};
use super::slab::Slab;

mod look_ahead;
mod reading;

pub(super) use reading::Gathered;

/// A run's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunId {
    segment: u32,
    index: u32,
}

/// Marks the first run of a trace.
const NONE: RunId = RunId { segment: u32::MAX, index: u32::MAX };

/// Consecutive spans of one trace under one scope.
#[derive(Debug, Clone, Copy)]
struct Run {
    before: RunId,
    /// Where it stands in the plain bytes.
    offset: u32,
    length: u32,
    scope: u32,
    /// 0 when it was let go.
    spans: u32,
}

/// What is known of a run without reading it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunView {
    /// The run before it of the same trace.
    pub(super) before: Option<RunId>,
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
    /// A run of its own.
    Run(RunId),
    /// The end of its trace's last run.
    Extension,
}

#[derive(Debug)]
struct Segment {
    /// Tells segments apart that had the same number.
    serial: u64,
    text: Text,
    runs: Vec<Run>,
    live_runs: usize,
    live_bytes: usize,
    /// Whether it is among those that [`Log::upkeep`] works on.
    is_listed: bool,
}

impl Segment {
    fn allocated(&self) -> usize {
        self.text.allocated() + self.runs.capacity() * size_of::<Run>()
    }

    /// The bytes of one that is written to.
    fn plain(&mut self) -> &mut Vec<u8> {
        match &mut self.text {
            Text::Plain(bytes) => bytes,
            Text::Sealed(_) => unreachable!("only full segments are sealed"),
        }
    }

    /// Appends a run of one span; `number` is the segment's own.
    fn push(&mut self, number: u32, before: RunId, scope: u32, span: &[u8]) -> RunId {
        let bytes = self.plain();
        let offset = u32::try_from(bytes.len()).expect("segments are below 4 GiB");
        bytes.extend_from_slice(span);
        let index = u32::try_from(self.runs.len()).expect("a run has at least one byte");
        self.runs.push(Run { before, offset, length: length(span), scope, spans: 1 });
        self.live_runs += 1;
        self.live_bytes += span.len();
        RunId { segment: number, index }
    }
}

fn length(span: &[u8]) -> u32 {
    u32::try_from(span.len()).expect("a request is below 4 GiB")
}

/// What is kept apart, so that spans which leave at once make no holes among those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Waiting,
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
    /// Emptied buffers of `segment_bytes`, for the segments to come.
    spare: Vec<Vec<u8>>,
    /// The fewest spare ones in this while and in the one before: so many were not needed. A load
    /// that swings, as one that judging slows down does, needs them every other while.
    spare_unused: [usize; 2],
    /// Segments begun in this while and in the one before.
    begun: [usize; 2],
    /// Runs of the segment that was filled last: about so many the next will have.
    typical_runs: usize,
    trims: u32,
    /// Bytes of all segments; an index that grew counts when its segment is full.
    allocated: usize,
    spans: usize,
}

/// Bytes of a segment, but for tests.
pub(super) const SEGMENT_BYTES: usize = 1 << 20;
/// Calls of [`Log::trim`] in a while, after which spare buffers are given back.
const TRIMS: u32 = 2;

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
            spare: Vec::new(),
            spare_unused: [0; 2],
            begun: [0; 2],
            typical_runs: 0,
            trims: 0,
            allocated: 0,
            spans: 0,
        }
    }

    /// Appends a span, given as a field of its scope entry, to the trace whose last run is `last`.
    pub(super) fn append(&mut self, last: Option<RunId>, scope: u32, span: &[u8]) -> Appended {
        self.spans += 1;
        let segment_id = self.segment_for(span.len(), Lane::Waiting);
        let segment = &mut self.segments[segment_id];
        if let Some(last) = last
            && last.segment == segment_id
            && last.index as usize + 1 == segment.runs.len()
            && let Some(run) = segment.runs.last_mut()
            && run.scope == scope
        {
            run.length += length(span);
            run.spans += 1;
            segment.live_bytes += span.len();
            segment.plain().extend_from_slice(span);
            return Appended::Extension;
        }
        Appended::Run(segment.push(segment_id, last.unwrap_or(NONE), scope, span))
    }

    /// Appends a span that leaves soon, as a run by itself.
    pub(super) fn append_leaving(&mut self, scope: u32, span: &[u8]) -> RunId {
        self.spans += 1;
        let segment_id = self.segment_for(span.len(), Lane::Leaving);
        self.segments[segment_id].push(segment_id, NONE, scope, span)
    }

    /// The segment that a span of `length` bytes is written to.
    fn segment_for(&mut self, length: usize, lane: Lane) -> u32 {
        if length > self.segment_bytes / 4 {
            // A giant gets a segment of its own size, so that no other is cut short by it.
            let runs = Vec::with_capacity(1);
            self.allocated += runs.capacity() * size_of::<Run>();
            let number = self.begin(Vec::with_capacity(length), runs);
            self.list_to_seal(number, lane);
            return number;
        }
        if let Some(current) = self.current[lane as usize] {
            let bytes = self.segments[current].plain();
            if bytes.capacity() - bytes.len() >= length {
                return current;
            }
            self.fill(current, lane);
        }
        let spare = self.spare.pop();
        self.spare_unused[0] = self.spare_unused[0].min(self.spare.len());
        self.begun[0] += 1;
        if let Some(spare) = &spare {
            self.allocated -= spare.capacity();
        }
        let bytes = spare.unwrap_or_else(|| Vec::with_capacity(self.segment_bytes));
        let runs = Vec::with_capacity(self.typical_runs + self.typical_runs / 8);
        let number = self.begin(bytes, runs);
        self.current[lane as usize] = Some(number);
        number
    }

    fn begin(&mut self, bytes: Vec<u8>, runs: Vec<Run>) -> u32 {
        self.serial += 1;
        self.allocated += bytes.capacity();
        self.segments.insert(Segment {
            serial: self.serial,
            text: Text::Plain(bytes),
            runs,
            live_runs: 0,
            live_bytes: 0,
            is_listed: false,
        })
    }

    /// Nothing more is written to a segment.
    fn fill(&mut self, number: u32, lane: Lane) {
        let segment = &mut self.segments[number];
        self.typical_runs = segment.runs.len();
        segment.runs.shrink_to_fit();
        self.allocated += segment.runs.capacity() * size_of::<Run>();
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
        RunView {
            before: Some(run.before).filter(|before| *before != NONE),
            scope: run.scope,
            spans: run.spans as usize,
            length: run.length as usize,
        }
    }

    /// The runs of the chain that ends with `last`, from its end to its beginning.
    pub(super) fn chain(&self, last: Option<RunId>) -> impl Iterator<Item = RunId> + '_ {
        std::iter::successors(last, |id| self.run(*id).before)
    }

    /// Lets go of a run, once.
    pub(super) fn release(&mut self, id: RunId) {
        let segment = &mut self.segments[id.segment];
        let run = &mut segment.runs[id.index as usize];
        self.spans -= std::mem::take(&mut run.spans) as usize;
        segment.live_runs -= 1;
        segment.live_bytes -= run.length as usize;
        if segment.live_runs > 0 {
            return;
        }
        if self.current.contains(&Some(id.segment)) {
            segment.plain().clear();
            segment.runs.clear();
            return;
        }
        let segment = self.segments.remove(id.segment);
        self.allocated -= segment.allocated();
        self.recycle(segment.text);
    }

    /// Lets go of a run long before its segment would be empty.
    pub(super) fn release_early(&mut self, id: RunId) {
        let serial = self.segments[id.segment].serial;
        self.release(id);
        let Some(segment) = self.segments.get(id.segment) else { return };
        if segment.serial == serial
            && !self.current.contains(&Some(id.segment))
            && let Text::Plain(bytes) = &segment.text
            && segment.live_bytes < bytes.len() / 2
        {
            self.list(id.segment);
        }
    }

    /// Keeps a buffer for the next segment, if as many are needed.
    fn recycle(&mut self, text: Text) {
        let needed = self.begun[0].max(self.begun[1]).max(1);
        if let Text::Plain(mut bytes) = text
            && bytes.capacity() == self.segment_bytes
            && self.spare.len() < needed
        {
            bytes.clear();
            self.allocated += bytes.capacity();
            self.spare.push(bytes);
        }
    }

    /// How many segments wait for [`Log::upkeep`].
    pub(super) fn backlog(&self) -> usize {
        self.listed.len() + usize::from(self.rewriting.is_some())
    }

    /// Seals or packs about so many bytes of full segments.
    pub(super) fn upkeep(&mut self, mut budget: usize) {
        while budget > 0 {
            let Some((number, serial, mut rewriting)) = self.take_rewriting() else { return };
            let Some(segment) = self.segments.get(number).filter(|one| one.serial == serial) else {
                continue;
            };
            let Text::Plain(bytes) = &segment.text else { continue };
            let runs = &segment.runs[rewriting.next()..];
            for run in runs {
                let length = if run.spans == 0 { 0 } else { run.length as usize };
                rewriting.push(&bytes[run.offset as usize..][..length], self.table.get());
                budget = budget.saturating_sub(length);
                if budget == 0 {
                    break;
                }
            }
            if rewriting.next() < segment.runs.len() {
                self.rewriting = Some((number, serial, rewriting));
                return;
            }
            self.replace(number, rewriting);
            // A segment costs something however little is left of it.
            budget = budget.saturating_sub(self.segment_bytes / 16);
        }
    }

    fn take_rewriting(&mut self) -> Option<(u32, u64, Rewriting)> {
        if let Some(rewriting) = self.rewriting.take() {
            return Some(rewriting);
        }
        let (number, serial) = self.listed.pop_front()?;
        let length = match self.segments.get(number) {
            Some(segment) if segment.serial == serial => segment.live_bytes,
            _ => 0,
        };
        Some((number, serial, Rewriting::new(self.compression, length)))
    }

    /// Puts the new bytes of a segment in the place of the old ones.
    fn replace(&mut self, number: u32, rewriting: Rewriting) {
        let (text, offsets) = rewriting.finish(self.table.get());
        let segment = &mut self.segments[number];
        segment.is_listed = false;
        for (run, offset) in segment.runs.iter_mut().zip(offsets) {
            run.offset = offset;
        }
        self.allocated += text.allocated();
        let old = std::mem::replace(&mut segment.text, text);
        self.allocated -= old.allocated();
        self.recycle(old);
    }

    /// Gives back what has not been needed for a while.
    pub(super) fn trim(&mut self) {
        for lane in [Lane::Waiting, Lane::Leaving] {
            if let Some(current) = self.current[lane as usize]
                && self.segments[current].live_runs == 0
            {
                self.current[lane as usize] = None;
                let segment = self.segments.remove(current);
                self.allocated -= segment.text.allocated();
            }
        }
        self.segments.shrink();
        self.trims += 1;
        if self.trims >= TRIMS {
            let [this, before] = self.spare_unused;
            self.drop_spare(self.spare.len() - this.min(before));
            self.spare_unused = [self.spare.len(), this - this.min(before)];
            self.trims = 0;
            self.begun = [0, self.begun[0]];
        }
    }

    /// Gives back all spare buffers but so many: first those that were not used for longest.
    pub(super) fn drop_spare(&mut self, kept: usize) {
        for bytes in self.spare.drain(..self.spare.len().saturating_sub(kept)) {
            self.allocated -= bytes.capacity();
        }
        self.spare_unused = [self.spare.len(); 2];
    }

    /// Spans in the log.
    pub(super) fn spans(&self) -> usize {
        self.spans
    }

    /// Bytes of all segments and of the spare buffers.
    pub(super) fn allocated(&self) -> usize {
        let rewriting = self.rewriting.as_ref().map_or(0, |(.., rewriting)| rewriting.allocated());
        self.allocated + rewriting
    }
}

#[cfg(test)]
mod tests;
