//! Traces leave: those that are due, and those that are too many.

use std::time::Instant;

use super::super::deadlines::Cause;
use super::super::evaluate::Verdict;
use super::super::inscription::{Reason, Source};
use super::super::outcome::Outcome;
use super::super::policy::Decision;
use super::super::segments::StretchId;
use super::super::sighting::show_again;
use super::super::trace::Trace;
use super::super::traces::Sequence;
use super::{Fate, SCOPES_SLICE, Shard};

/// How many places the row of traces may have for each trace that may wait: traces judged ahead of
/// their turn leave holes.
const PLACES_PER_TRACE: usize = 4;
/// Traces judged at once to get below the byte limit, before it is looked at again.
const BYTES_SLICE: usize = 64;
/// Traces that are made room for when one is due: those of a slice.
const ROOM: usize = 256;
/// Spans that are as much work as one trace more.
const SPANS_AS_A_TRACE: u32 = 16;
/// Runs of one trace that leave at once, and the rest of the stretch that passes this: a fraction of a
/// millisecond.
const RUNS_SLICE: usize = 4096;
/// Stretches of one trace that are let go at once, each perhaps with its segment: the same.
const STRETCHES_SLICE: usize = 128;

impl Shard {
    /// Judges traces that are due, about `max` of ordinary size, and those that are too many; tells
    /// how many. Or goes on to part with a giant or with many headers.
    ///
    /// To be called until it tells 0, with [`Shard::take`] in between. `stopwatch` times the
    /// policies and decides nothing.
    pub(in super::super) fn judge(
        &mut self,
        now: Instant,
        max: usize,
        stopwatch: impl Fn() -> Instant,
    ) -> usize {
        if let Some((last, fate)) = self.unfinished.pop() {
            self.part_with(Some(last), fate);
            return 1;
        }
        if self.buffer.release_scopes(SCOPES_SLICE) {
            return 1;
        }
        let mut due = std::mem::take(&mut self.nameless);
        let mut judged = due.len();
        let mut work = judged;
        if self.held().bytes > self.settings.max_bytes {
            self.buffer.log.drop_spares();
        }
        let over_bytes =
            self.held().bytes > self.settings.max_bytes && !self.settings.block_on_overflow;
        let mut early_for_bytes = if over_bytes { BYTES_SLICE.min(max) } else { 0 };
        let mut taken = std::mem::take(&mut self.taken);
        while work < max
            && let Some((sequence, cause)) = self.next_due(now, &mut early_for_bytes)
        {
            let Some(mut trace) = self.traces.take(sequence) else { continue };
            taken.push((sequence, trace.key()));
            self.note_bytes -= trace.notes.allocated();
            self.tally.causes[cause as usize] += 1;
            judged += 1;
            work += 1 + (trace.summary.spans / SPANS_AS_A_TRACE) as usize;
            if cause == Cause::TooLarge && !self.settings.dry_run {
                self.forget_release(&trace);
                self.settle_too_large(&trace, now);
                continue;
            }
            if trace.generation != self.generation
                && let Some(outcome) = trace.outcome
            {
                let verdict = self.former.judge(&trace, outcome, now);
                self.conclude(&trace, verdict, now);
                continue;
            }
            if self.settings.by_piece {
                self.conclude(&trace, Verdict::NOT_SAMPLED, now);
                continue;
            }
            if trace.generation != self.generation {
                work += trace.summary.spans as usize;
                show_again(&mut trace, &self.buffer, &self.policies);
            }
            if due.len() == due.capacity() {
                due.reserve(ROOM);
            }
            due.push(trace);
        }
        self.traces.forget_all(&taken);
        taken.clear();
        self.taken = taken;
        if let Some(journal) = &mut self.journal {
            journal.note_ballots(&self.policies, &due, now);
        }
        let verdicts = self.policies.judge(&due, now, &mut self.tally.policies, stopwatch);
        self.decided.look_ahead(due.iter().map(Trace::key));
        self.buffer.look_ahead(due.iter().filter_map(|trace| trace.last_stretch));
        for (trace, verdict) in due.into_iter().zip(verdicts) {
            self.released -= usize::from(trace.outcome.is_some());
            self.conclude(&trace, verdict, now);
        }
        self.buffer.release_scopes(SCOPES_SLICE);
        judged
    }

    /// What the policies decided becomes the verdict, unless another one has begun already.
    pub(super) fn conclude(&mut self, trace: &Trace, mut verdict: Verdict, now: Instant) {
        if self.settings.dry_run {
            self.tally.rehearsed[verdict.decision as usize] += 1;
            verdict = Verdict::DRY_RUN;
        }
        if let Some(outcome) = trace.outcome
            && outcome != Outcome::of(verdict.decision)
        {
            self.tally.contradictions += 1;
            verdict = outcome.verdict();
        }
        self.settle(trace, verdict, now);
    }

    /// The next trace to be judged, and why.
    fn next_due(&mut self, now: Instant, early_for_bytes: &mut usize) -> Option<(Sequence, Cause)> {
        let Some((front, trace)) = self.traces.front() else {
            self.deadlines.forget_large();
            return None;
        };
        if now.saturating_duration_since(trace.arrived) >= self.settings.decision_wait {
            return Some((front, Cause::Wait));
        }
        if let Some(due) = self.deadlines.next(now, &self.traces) {
            return Some(due);
        }
        let num_traces = self.settings.num_traces;
        let cause = if self.closing {
            Cause::Shutdown
        } else if self.traces.len() > num_traces && !self.settings.block_on_overflow
            || self.traces.places() > num_traces.saturating_mul(PLACES_PER_TRACE).max(1024)
        {
            Cause::NumTraces
        } else if *early_for_bytes > 0 {
            *early_for_bytes -= 1;
            Cause::Bytes
        } else {
            return None;
        };
        Some((front, cause))
    }

    fn settle(&mut self, trace: &Trace, verdict: Verdict, now: Instant) {
        self.note_decision(trace, verdict, now);
        self.tally.decisions[verdict.decision as usize] += 1;
        match verdict.decision {
            Decision::Sampled => {
                self.kept_traces.note(&trace.summary.trace_id);
                let reason = Reason::of(verdict, Source::Policies);
                self.part_with(trace.last_stretch, Fate::Kept(reason));
            }
            Decision::NotSampled | Decision::Dropped => {
                self.part_with(trace.last_stretch, Fate::Discarded);
            }
        }
    }

    /// As in the Collector, such a trace is not kept, whatever the policies say, and is not among
    /// the decisions. Source: contrib v0.156 tailsamplingprocessor/processor.go.
    fn settle_too_large(&mut self, trace: &Trace, now: Instant) {
        self.note_decision(trace, Verdict::NOT_SAMPLED, now);
        self.part_with(trace.last_stretch, Fate::TooLarge);
    }

    /// Has the spans of a chain leave, or lets go of them; what is left of a giant one follows with
    /// the next slices.
    pub(super) fn part_with(&mut self, last: Option<StretchId>, fate: Fate) {
        let Some(last) = last else { return };
        let (spans, rest) = match fate {
            Fate::Kept(reason) => {
                (0, self.outgoing.push_chain(last, reason, RUNS_SLICE, &self.buffer))
            }
            Fate::DiscardedEarly => self.buffer.release_chain_early(Some(last), STRETCHES_SLICE),
            Fate::Discarded | Fate::TooLarge => {
                self.buffer.release_chain(Some(last), STRETCHES_SLICE)
            }
        };
        match fate {
            Fate::TooLarge => self.tally.too_large_spans += spans as u64,
            _ => self.tally.sampled_out_spans += spans as u64,
        }
        self.unfinished.extend(rest.map(|rest| (rest, fate)));
    }

    /// A trace that was released early is not judged by the policies that released it.
    fn forget_release(&mut self, trace: &Trace) {
        match trace.outcome {
            Some(_) if trace.generation == self.generation => self.released -= 1,
            Some(_) => self.former.forget(trace.generation),
            None => {}
        }
    }

    fn note_decision(&mut self, trace: &Trace, verdict: Verdict, now: Instant) {
        self.tally.removal_ages.note(now.saturating_duration_since(trace.arrived));
        if let Some(journal) = &mut self.journal {
            journal.note_verdict(trace, verdict);
        }
        if trace.summary.trace_id != [0; 16] {
            self.decided.note(trace.key(), verdict, now);
        }
    }
}
