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
//! Invariants: a segment is dropped or used again when its last run is released; one that holds
//! bytes has a run that lives. With one wait for all traces the segments empty in their order.

use super::slab::Slab;

/// A run's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    offset: u32,
    length: u32,
    scope: u32,
    spans: u32,
}

/// A run as it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunView<'a> {
    /// The run before it of the same trace.
    pub(super) before: Option<RunId>,
    /// Number of the scope header it is under.
    pub(super) scope: u32,
    /// How many spans it holds.
    pub(super) spans: usize,
    /// The spans as fields of a scope entry.
    pub(super) bytes: &'a [u8],
}

/// What [`Log::append`] made of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    /// A run of its own.
    Run(RunId),
    /// The end of its trace's last run.
    Extension,
}

#[derive(Debug, Default)]
struct Segment {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    live_runs: usize,
}

impl Segment {
    fn allocated(&self) -> usize {
        self.bytes.capacity() + self.runs.capacity() * size_of::<Run>()
    }

    /// Appends a run of one span; `number` is the segment's own.
    fn push(&mut self, number: u32, before: RunId, scope: u32, span: &[u8]) -> RunId {
        let offset = u32::try_from(self.bytes.len()).expect("segments are below 4 GiB");
        let index = u32::try_from(self.runs.len()).expect("a run has at least one byte");
        self.bytes.extend_from_slice(span);
        self.runs.push(Run { before, offset, length: length(span), scope, spans: 1 });
        self.live_runs += 1;
        RunId { segment: number, index }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
    }
}

fn length(span: &[u8]) -> u32 {
    u32::try_from(span.len()).expect("a request is below 4 GiB")
}

/// What is kept apart, so that spans which leave at once make no holes among those that wait.
#[derive(Debug, Clone, Copy)]
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
    spare: Vec<Segment>,
    /// The fewest spare segments since the last [`Log::trim`]: so many were not needed.
    spare_unused: usize,
    /// Bytes of all segments but the spare ones; an index that grew counts when its segment is
    /// full.
    allocated: usize,
    spans: usize,
}

/// Bytes of a segment, but for tests.
pub(super) const SEGMENT_BYTES: usize = 1 << 20;
/// How many empty segments are kept for use at most.
const MAX_SPARE: usize = 8;

impl Log {
    /// An empty log of segments of `segment_bytes` bytes.
    pub(super) fn new(segment_bytes: usize) -> Self {
        Self {
            segments: Slab::default(),
            current: [None; 2],
            segment_bytes,
            spare: Vec::new(),
            spare_unused: 0,
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
            segment.bytes.extend_from_slice(span);
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
            let (bytes, runs) = (Vec::with_capacity(length), Vec::with_capacity(1));
            let segment = Segment { bytes, runs, live_runs: 0 };
            self.allocated += segment.allocated();
            return self.segments.insert(segment);
        }
        if let Some(current) = self.current[lane as usize] {
            let segment = &self.segments[current];
            if segment.bytes.capacity() - segment.bytes.len() >= length {
                return current;
            }
            self.allocated += segment.runs.capacity() * size_of::<Run>();
        }
        let segment = self.spare.pop().unwrap_or_else(|| Segment {
            bytes: Vec::with_capacity(self.segment_bytes),
            ..Segment::default()
        });
        self.spare_unused = self.spare_unused.min(self.spare.len());
        self.allocated += segment.bytes.capacity();
        let current = self.segments.insert(segment);
        self.current[lane as usize] = Some(current);
        current
    }

    /// Reads a run.
    pub(super) fn run(&self, id: RunId) -> RunView<'_> {
        let segment = &self.segments[id.segment];
        let run = &segment.runs[id.index as usize];
        RunView {
            before: Some(run.before).filter(|before| *before != NONE),
            scope: run.scope,
            spans: run.spans as usize,
            bytes: &segment.bytes[run.offset as usize..][..run.length as usize],
        }
    }

    /// The runs of the chain that ends with `last`, from its end to its beginning.
    pub(super) fn chain(&self, last: Option<RunId>) -> impl Iterator<Item = RunId> + '_ {
        std::iter::successors(last, |id| self.run(*id).before)
    }

    /// Lets go of a run, once.
    pub(super) fn release(&mut self, id: RunId) {
        let segment = &mut self.segments[id.segment];
        self.spans -= segment.runs[id.index as usize].spans as usize;
        segment.live_runs -= 1;
        if segment.live_runs > 0 {
            return;
        }
        if self.current.contains(&Some(id.segment)) {
            segment.clear();
            return;
        }
        let mut segment = self.segments.remove(id.segment);
        self.allocated -= segment.allocated();
        if segment.bytes.capacity() == self.segment_bytes && self.spare.len() < MAX_SPARE {
            segment.clear();
            self.spare.push(segment);
        }
    }

    /// Drops the spare segments that were not needed since the last call.
    pub(super) fn trim(&mut self) {
        let kept = self.spare.len() - self.spare_unused;
        self.spare.truncate(kept);
        self.spare_unused = self.spare.len();
        for lane in [Lane::Waiting, Lane::Leaving] {
            if let Some(current) = self.current[lane as usize]
                && self.segments[current].live_runs == 0
            {
                self.current[lane as usize] = None;
                let segment = self.segments.remove(current);
                self.allocated -= segment.bytes.capacity();
            }
        }
        self.segments.shrink();
    }

    /// Spans in the log.
    pub(super) fn spans(&self) -> usize {
        self.spans
    }

    /// Bytes of the segments in use.
    pub(super) fn allocated(&self) -> usize {
        self.allocated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(appended: Appended) -> RunId {
        match appended {
            Appended::Run(id) => id,
            Appended::Extension => panic!("a run of its own was expected"),
        }
    }

    #[test]
    fn neighbours_of_one_trace_and_scope_share_a_run() {
        let mut log = Log::new(100);
        let first = run(log.append(None, 1, b"aa"));
        assert_eq!(log.append(Some(first), 1, b"bb"), Appended::Extension);
        let other_scope = run(log.append(Some(first), 2, b"cc"));
        let other_trace = run(log.append(None, 2, b"dd"));
        let back = run(log.append(Some(other_scope), 2, b"ee"));
        assert_eq!((log.run(first).bytes, log.run(first).spans), (&b"aabb"[..], 2));
        assert_eq!(log.run(back).before, Some(other_scope));
        assert_eq!(log.run(other_scope).before, Some(first));
        assert_eq!(log.run(other_trace).before, None);
        assert_eq!(log.spans(), 5);
    }

    #[test]
    fn a_segment_goes_with_its_last_run() {
        let mut log = Log::new(100);
        let runs: Vec<RunId> = (0..40).map(|_| run(log.append(None, 0, &[7; 25]))).collect();
        let full = log.allocated();
        assert!(full >= 1000, "{full}");
        for id in &runs[1..] {
            log.release(*id);
        }
        assert_eq!(log.run(runs[0]).bytes, [7; 25]);
        log.release(runs[0]);
        log.trim();
        log.trim();
        assert_eq!((log.spans(), log.allocated(), log.spare.len()), (0, 0, 0));
    }

    #[test]
    fn a_giant_gets_a_segment_of_its_own() {
        let mut log = Log::new(100);
        let small = run(log.append(None, 0, b"small"));
        let giant = run(log.append(None, 0, &[1; 1000]));
        let next = run(log.append(None, 0, b"next"));
        assert_eq!(small.segment, next.segment);
        assert_eq!(log.run(giant).bytes, [1; 1000]);
        log.release(giant);
        assert!(log.allocated() < 200);
    }

    #[test]
    fn spare_segments_in_use_are_kept() {
        let mut log = Log::new(100);
        for _ in 0..50 {
            let runs: Vec<RunId> = (0..8).map(|_| run(log.append(None, 0, &[7; 25]))).collect();
            for id in runs {
                log.release(id);
            }
        }
        assert!(log.spare.len() <= 2);
    }
}
