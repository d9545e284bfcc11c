//! One segment: bytes of spans, and beside them the index of what stands in them.

use hashbrown::HashSet;

use super::super::sealing::Text;
use super::{NONE, StretchId};

/// Consecutive spans of one trace under one scope.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The run before it of the same stretch, or [`NO_RUN`].
    pub(super) before: u32,
    /// Where it stands in the plain bytes.
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) scope: u32,
    /// 0 when it was let go by itself, or marked as let go with its stretch.
    pub(super) spans: u32,
}

/// Runs of one trace in one segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// The stretch before it of the same trace.
    pub(super) before: StretchId,
    /// Its chain of runs, by the last one.
    pub(super) last: u32,
    /// Of all its runs; 0 when it was let go as a whole.
    spans: u32,
    bytes: u32,
}

/// In place of a run's number.
pub(super) const NO_RUN: u32 = u32::MAX;

/// Runs and scopes a segment may have, however small they are: few enough that to look at all of
/// them is a fraction of a millisecond.
pub(super) const MAX_RUNS: usize = 16_384;
pub(super) const MAX_SCOPES: usize = 4096;

#[derive(Debug)]
pub(super) struct Segment {
    /// Tells segments apart that had the same number.
    pub(super) serial: u64,
    pub(super) text: Text,
    pub(super) runs: Vec<Run>,
    pub(super) stretches: Vec<Stretch>,
    /// The scope headers that its live runs are under, each at least once; until it is packed or
    /// sealed, those of all its runs.
    pub(super) scopes: Vec<u32>,
    /// Bytes of those that nothing else held when they were noted.
    pub(super) header_bytes: usize,
    pub(super) live_spans: usize,
    pub(super) live_bytes: usize,
    /// Whether it is among those that [`super::Log::upkeep`] works on.
    pub(super) is_listed: bool,
}

/// How much room the index of a segment is given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IndexSize {
    pub(super) runs: usize,
    pub(super) stretches: usize,
    pub(super) scopes: usize,
}

impl IndexSize {
    /// Enough for one that is alike.
    pub(super) fn with_some_more(self) -> Self {
        let Self { runs, stretches, scopes } = self;
        Self { runs: runs + runs / 8, stretches: stretches + stretches / 8, scopes }
    }
}

impl Segment {
    /// An empty one.
    pub(super) fn new(serial: u64, bytes: Vec<u8>, size: IndexSize) -> Self {
        Self {
            serial,
            text: Text::Plain(bytes),
            runs: Vec::with_capacity(size.runs),
            stretches: Vec::with_capacity(size.stretches),
            scopes: Vec::with_capacity(size.scopes),
            header_bytes: 0,
            live_spans: 0,
            live_bytes: 0,
            is_listed: false,
        }
    }

    /// How much its index holds.
    pub(super) fn index_size(&self) -> IndexSize {
        IndexSize {
            runs: self.runs.len(),
            stretches: self.stretches.len(),
            scopes: self.scopes.len(),
        }
    }

    /// Bytes of its text and its index.
    pub(super) fn allocated(&self) -> usize {
        self.text.allocated() + self.index_allocated()
    }

    /// Bytes of its index.
    pub(super) fn index_allocated(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
            + self.stretches.capacity() * size_of::<Stretch>()
            + self.scopes.capacity() * size_of::<u32>()
    }

    /// Gives room of the index back that is not needed.
    pub(super) fn shrink_index(&mut self) {
        self.runs.shrink_to_fit();
        self.stretches.shrink_to_fit();
        self.scopes.shrink_to_fit();
    }

    /// The bytes of one that is written to.
    pub(super) fn plain(&mut self) -> &mut Vec<u8> {
        match &mut self.text {
            Text::Plain(bytes) => bytes,
            Text::Sealed(_) => unreachable!("only full segments are sealed"),
        }
    }

    /// Whether nothing more is to be written to it: its index is large, or it keeps as many bytes of
    /// headers as one may have of spans.
    #[inline]
    pub(super) fn is_full(&self, max_header_bytes: usize) -> bool {
        self.runs.len() >= MAX_RUNS
            || self.scopes.len() >= MAX_SCOPES
            || self.header_bytes >= max_header_bytes
    }

    /// Whether much of its plain text was let go, so that packing it is worth the while.
    pub(super) fn is_hollow(&self) -> bool {
        matches!(&self.text, Text::Plain(bytes) if self.live_bytes < bytes.len() / 2)
    }

    /// Begins a stretch of a trace, behind that in another segment.
    pub(super) fn begin_stretch(&mut self, before: Option<StretchId>) -> u32 {
        let before = before.unwrap_or(NONE);
        self.stretches.push(Stretch { before, last: NO_RUN, spans: 0, bytes: 0 });
        number(self.stretches.len() - 1)
    }

    /// Appends a span to a stretch; tells whether a run was begun for it.
    #[inline]
    pub(super) fn append(&mut self, stretch: u32, scope: u32, span: &[u8]) -> bool {
        let bytes = self.plain();
        let (offset, length) = (number(bytes.len()), number(span.len()));
        bytes.extend_from_slice(span);
        self.live_spans += 1;
        self.live_bytes += span.len();
        let stretch = &mut self.stretches[stretch as usize];
        stretch.spans += 1;
        stretch.bytes += length;
        let next = number(self.runs.len());
        if let Some(run) = self.runs.last_mut()
            && stretch.last == next - 1
            && run.scope == scope
        {
            run.length += length;
            run.spans += 1;
            return false;
        }
        self.runs.push(Run { before: stretch.last, offset, length, scope, spans: 1 });
        stretch.last = next;
        true
    }

    /// Lets go of a run by itself; tells how many spans it had.
    pub(super) fn release_run(&mut self, run: u32) -> usize {
        let run = &mut self.runs[run as usize];
        debug_assert!(run.spans > 0, "once");
        let spans = std::mem::take(&mut run.spans) as usize;
        self.live_spans -= spans;
        self.live_bytes -= run.length as usize;
        spans
    }

    /// Lets go of a stretch; tells how many spans it had. Its runs are not looked at, which would
    /// wait for memory at each.
    pub(super) fn release(&mut self, stretch: u32) -> usize {
        let stretch = &mut self.stretches[stretch as usize];
        debug_assert!(stretch.spans > 0, "once");
        let spans = std::mem::take(&mut stretch.spans) as usize;
        self.live_spans -= spans;
        self.live_bytes -= std::mem::take(&mut stretch.bytes) as usize;
        spans
    }

    /// Marks the runs of stretches that were let go.
    pub(super) fn mark_holes(&mut self) {
        for stretch in self.stretches.iter().filter(|stretch| stretch.spans == 0) {
            let mut next = stretch.last;
            while let Some(run) = self.runs.get_mut(next as usize) {
                run.spans = 0;
                next = run.before;
            }
        }
    }

    /// Notes again under which scopes it has live runs, each once; the rest is `freed`.
    pub(super) fn renew_scopes(&mut self, freed: &mut Vec<u32>) {
        let live = self.runs.iter().filter(|run| run.spans > 0).map(|run| run.scope);
        let live: HashSet<u32> = live.collect();
        self.scopes.sort_unstable();
        let mut last = None;
        self.scopes.retain(|scope| {
            let is_kept = last.replace(*scope) != Some(*scope) && live.contains(scope);
            if !is_kept {
                freed.push(*scope);
            }
            is_kept
        });
    }

    /// Empties one that is written to, but for its scopes, which are `freed`.
    pub(super) fn clear(&mut self, serial: u64, freed: &mut Vec<u32>) {
        self.serial = serial;
        self.header_bytes = 0;
        freed.append(&mut self.scopes);
        self.plain().clear();
        self.runs.clear();
        self.stretches.clear();
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("a segment and a request are below 4 GiB")
}
