//! When a trace is due before its `decision_wait` is over: its root is in, nothing more comes, or it
//! has grown large.
//!
//! A trace stands at most once in each of these; what stands there for a trace that was judged
//! meanwhile is passed over. Times are rounded up to [`Moment`]s, so a trace is due two of them too
//! late at most and never too early.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::trace::Trace;
use super::traces::{Sequence, Traces};

/// Hundredths of a second since a shard began; enough for more than a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Moment(u32);

impl Moment {
    const LENGTH: Duration = Duration::from_millis(10);

    /// The moment that has begun after so much time.
    fn begun(time: Duration) -> Self {
        Self(u32::try_from(time.as_nanos() / Self::LENGTH.as_nanos()).unwrap_or(u32::MAX))
    }

    /// The first moment that begins then or later.
    fn next(time: Duration) -> Self {
        let moments = time.as_nanos().div_ceil(Self::LENGTH.as_nanos());
        Self(u32::try_from(moments).unwrap_or(u32::MAX))
    }

    fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Why a trace is judged when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// `decision_wait` is over.
    Wait,
    /// Its root is in, and `decision_wait_after_root_received` is over.
    Root,
    /// No span came for `decision_wait_after_idle`.
    Idle,
    /// It reached `decision_after_spans` or `decision_after_bytes`.
    Size,
    /// It passed `maximum_trace_size_bytes`, and so is not asked about.
    TooLarge,
    /// Too many traces wait.
    NumTraces,
    /// Too many bytes are held.
    Bytes,
    /// The process stops.
    Shutdown,
    /// A piece of it was decisive.
    Piece,
}

impl Cause {
    /// How many there are.
    pub(super) const COUNT: usize = Self::ALL.len();
    /// All of them.
    pub(super) const ALL: [Self; 9] = [
        Self::Wait,
        Self::Root,
        Self::Idle,
        Self::Size,
        Self::TooLarge,
        Self::NumTraces,
        Self::Bytes,
        Self::Shutdown,
        Self::Piece,
    ];

    /// As the `reason` label has it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Wait => "decision_wait",
            Self::Root => "root",
            Self::Idle => "idle",
            Self::Size => "size",
            Self::TooLarge => "too_large",
            Self::NumTraces => "num_traces",
            Self::Bytes => "bytes",
            Self::Shutdown => "shutdown",
            Self::Piece => "span_ingest",
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Deadlines {
    epoch: Instant,
    wait_after_root: Option<Moment>,
    wait_after_idle: Option<Moment>,
    /// Traces whose root is in, by when they are due for that.
    rooted: VecDeque<(Moment, Sequence)>,
    /// Traces by when it is to be seen whether a span came meanwhile.
    quiet: BTreeMap<Moment, Vec<Sequence>>,
    quiet_count: usize,
    /// Traces that are due for their size.
    large: VecDeque<(Cause, Sequence)>,
}

impl Deadlines {
    /// Waits that are not below `decision_wait` never matter.
    pub(super) fn new(
        epoch: Instant,
        decision_wait: Duration,
        [after_root, after_idle]: [Option<Duration>; 2],
    ) -> Self {
        let usable =
            |wait: Option<Duration>| wait.filter(|wait| *wait < decision_wait).map(Moment::next);
        Self {
            epoch,
            wait_after_root: usable(after_root),
            wait_after_idle: usable(after_idle),
            rooted: VecDeque::new(),
            quiet: BTreeMap::new(),
            quiet_count: 0,
            large: VecDeque::new(),
        }
    }

    /// Waits so long from now on. Traces for which a wait begins to matter only now, because there was
    /// none, are due without it.
    pub(super) fn set_waits(&mut self, decision_wait: Duration, waits: [Option<Duration>; 2]) {
        let fresh = Self::new(self.epoch, decision_wait, waits);
        let former = std::mem::replace(&mut self.wait_after_root, fresh.wait_after_root);
        match (former, self.wait_after_root) {
            (Some(former), Some(wait)) => {
                for (due, _) in &mut self.rooted {
                    *due = due.minus(former).plus(wait);
                }
            }
            _ => self.rooted.clear(),
        }
        let quiet = std::mem::take(&mut self.quiet);
        self.quiet_count = 0;
        self.wait_after_idle = fresh.wait_after_idle;
        if self.wait_after_idle.is_some() {
            // Each is looked at next time, and waits on from its last span.
            quiet.into_values().flatten().for_each(|trace| self.watch(trace, Moment::default()));
        }
    }

    /// The moment that a span belongs to which arrives now: the next to begin.
    pub(super) fn arrival(&self, now: Instant) -> Moment {
        Moment::next(now.saturating_duration_since(self.epoch))
    }

    /// A trace began.
    #[inline]
    pub(super) fn note_first_span(&mut self, sequence: Sequence, now: Moment) {
        if let Some(wait) = self.wait_after_idle {
            self.watch(sequence, now.plus(wait));
        }
    }

    /// The root of a trace arrived.
    #[inline]
    pub(super) fn note_root(&mut self, sequence: Sequence, now: Moment) {
        if let Some(wait) = self.wait_after_root {
            self.rooted.push_back((now.plus(wait), sequence));
        }
    }

    /// A trace became large enough to be judged at once.
    pub(super) fn note_large(&mut self, sequence: Sequence, cause: Cause) {
        self.large.push_back((cause, sequence));
    }

    /// Whether a trace is due for its size.
    pub(super) fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// No trace waits, so none of those noted as large does.
    pub(super) fn forget_large(&mut self) {
        self.large.clear();
    }

    /// The next trace that is due.
    pub(super) fn next(&mut self, now: Instant, traces: &Traces) -> Option<(Sequence, Cause)> {
        let now = Moment::begun(now.saturating_duration_since(self.epoch));
        while let Some((cause, sequence)) = self.large.pop_front() {
            if traces.get(sequence).is_some() {
                return Some((sequence, cause));
            }
        }
        while let Some((due, sequence)) = self.rooted.front().copied() {
            let waits = traces.get(sequence).is_some();
            if waits && due > now {
                break;
            }
            self.rooted.pop_front();
            if waits {
                return Some((sequence, Cause::Root));
            }
        }
        self.next_idle(now, traces).map(|sequence| (sequence, Cause::Idle))
    }

    /// When the trace at `sequence` is due before its `decision_wait` is over, and why, if nothing
    /// more comes. Looks through all that are watched, so it is for people only.
    pub(super) fn find(&self, sequence: Sequence, trace: &Trace) -> Option<(Instant, Cause)> {
        if let Some((cause, _)) = self.large.iter().find(|(_, large)| *large == sequence) {
            return Some((trace.arrived, *cause));
        }
        let rooted = self.rooted.iter().find(|(_, rooted)| *rooted == sequence);
        let rooted = rooted.map(|(due, _)| (*due, Cause::Root));
        let idle = self.wait_after_idle.map(|wait| (trace.last_arrival.plus(wait), Cause::Idle));
        let (due, cause) = rooted.into_iter().chain(idle).min_by_key(|(due, _)| *due)?;
        Some((self.epoch + Moment::LENGTH * due.0, cause))
    }

    fn next_idle(&mut self, now: Moment, traces: &Traces) -> Option<Sequence> {
        let wait = self.wait_after_idle?;
        while let Some(mut entry) = self.quiet.first_entry().filter(|entry| *entry.key() <= now) {
            let Some(sequence) = entry.get_mut().pop() else {
                entry.remove();
                continue;
            };
            self.quiet_count -= 1;
            let Some(trace) = traces.get(sequence) else { continue };
            let due = trace.last_arrival.plus(wait);
            if due <= now {
                return Some(sequence);
            }
            self.watch(sequence, due);
        }
        None
    }

    fn watch(&mut self, sequence: Sequence, due: Moment) {
        self.quiet.entry(due).or_default().push(sequence);
        self.quiet_count += 1;
    }

    /// Bytes of all that.
    pub(super) fn allocated(&self) -> usize {
        self.rooted.capacity() * size_of::<(Moment, Sequence)>()
            + self.quiet_count * size_of::<Sequence>()
    }

    /// Gives room back that is not needed, and forgets judged traces if they are the most.
    pub(super) fn trim(&mut self, traces: &Traces) {
        if self.quiet_count > 2 * traces.len() {
            self.quiet.values_mut().for_each(|row| {
                row.retain(|sequence| traces.get(*sequence).is_some());
                row.shrink_to_fit();
            });
            self.quiet.retain(|_, row| !row.is_empty());
            self.quiet_count = self.quiet.values().map(Vec::len).sum();
        }
        if self.rooted.len() > 2 * traces.len() {
            self.rooted.retain(|(_, sequence)| traces.get(*sequence).is_some());
        }
        if self.rooted.capacity() > 4 * self.rooted.len() {
            self.rooted.shrink_to(2 * self.rooted.len());
        }
    }
}
