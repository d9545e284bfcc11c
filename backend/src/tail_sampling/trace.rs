//! A trace that waits for its decision.

use std::time::Instant;

use shared::wire::Span;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::deadlines::Moment;
use super::outcome::Outcome;
use super::policy::{Case, Notes, Seen};
use super::segments::StretchId;

/// A trace id.
pub(super) type TraceId = [u8; 16];

/// A trace id with its hash, by which all tables of a shard look for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: TraceId,
    pub(super) hash: u64,
}

impl Key {
    /// The key of an id; `seed` keeps the tables from being attacked.
    #[inline]
    pub(super) fn new(id: TraceId, seed: u64) -> Self {
        Self { id, hash: xxh3_64_with_seed(&id, seed) }
    }

    /// As much of the hash as the tables of waiting traces keep.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
    pub(super) fn low(self) -> u32 {
        self.hash as u32
    }
}

/// What is known of a trace besides what its policies saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// All zero for a span that has none.
    pub(super) trace_id: TraceId,
    /// The earliest start. As in the Collector a span without one sets this back to 0, and the
    /// next span's start takes its place.
    pub(super) start_ns: u64,
    /// The latest end; 0 when no span has one.
    pub(super) end_ns: u64,
    /// Bytes of its spans, as fields of their scope entries.
    pub(super) bytes: u64,
    /// How many spans have arrived.
    pub(super) spans: u32,
    /// Whether a span without a parent has arrived.
    pub(super) rooted: bool,
}

impl Summary {
    /// Notes one more span of so many bytes.
    #[inline]
    pub(super) fn add(&mut self, span: &Span<'_>, bytes: usize) {
        if self.start_ns == 0 || span.start_ns < self.start_ns {
            self.start_ns = span.start_ns;
        }
        self.end_ns = self.end_ns.max(span.end_ns);
        self.bytes += bytes as u64;
        self.spans = self.spans.saturating_add(1);
        self.rooted |= span.is_root();
    }
}

/// A trace that waits.
#[derive(Debug)]
pub(super) struct Trace {
    /// When its first span arrived.
    pub(super) arrived: Instant,
    /// When its last span arrived.
    pub(super) last_arrival: Moment,
    /// Its chain of stretches, by the last one.
    pub(super) last_stretch: Option<StretchId>,
    /// What the policies saw in its spans.
    pub(super) seen: Seen,
    /// What they wrote about them.
    pub(super) notes: Notes,
    /// The rest that the policies need.
    pub(super) summary: Summary,
    /// Hash of its id by the shard's seed; 0 if it has none.
    pub(super) hash: u64,
    /// How it is bound to end; then its spans are not held.
    pub(super) outcome: Option<Outcome>,
    /// Which policies these are, counted through all changes.
    pub(super) generation: u16,
}

impl Trace {
    /// A trace of which nothing has arrived yet.
    pub(super) fn new(trace_id: TraceId, arrived: Instant) -> Self {
        let summary = Summary { trace_id, ..Summary::default() };
        let (seen, notes) = (Seen::default(), Notes::default());
        let last_arrival = Moment::default();
        Self {
            arrived,
            last_arrival,
            last_stretch: None,
            seen,
            notes,
            summary,
            hash: 0,
            outcome: None,
            generation: 0,
        }
    }

    /// Makes room for what the policies see in its next piece. How many spans and bytes it has counts
    /// over all pieces, its duration does not.
    pub(super) fn forget_piece(&mut self) {
        (self.seen, self.notes) = (Seen::default(), Notes::default());
        (self.summary.start_ns, self.summary.end_ns) = (0, 0);
    }

    /// Its id and that one's hash.
    #[inline]
    pub(super) fn key(&self) -> Key {
        Key { id: self.summary.trace_id, hash: self.hash }
    }

    /// What its policies may decide from.
    pub(super) fn case(&self, now: Instant) -> Case<'_> {
        Case { seen: self.seen, summary: &self.summary, notes: &self.notes, now }
    }
}
