//! The traces of one shard: told the time, without I/O, clock or lock.
//!
//! ```text
//!            ┌ decided: follows the verdict ┐
//! span ──────┤                              ├──▶ outgoing ──▶ requests
//!            └ waits ──▶ judged ── sampled ─┘
//!                           └───── not ──▶ forgotten
//! ```
//!
//! Invariants: a trace gets one verdict for as long as that is remembered; every span that came in
//! is held, was taken out in a request, or was sampled out, and is counted as one of these.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::Batch;
use shared::wire::export::{ResourceEntry, ScopeEntry, resources};
use shared::wire::{Fields, Resource, Signal, Span, Value};

use super::buffer::Buffer;
use super::decision_cache::DecisionCache;
use super::evaluate::{Policies, Verdict};
use super::outgoing::{Outgoing, RequestSize};
use super::policy::Decision;
use super::sighting::show_again;
use super::tally::Tally;
use super::trace::{Sequence, Trace, TraceId, Traces};

/// A shard's share of the settings.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// How long a trace waits from its first span.
    pub(super) decision_wait: Duration,
    /// How long it waits from its root, if that is to count.
    pub(super) wait_after_root: Option<Duration>,
    /// Traces that may wait.
    pub(super) num_traces: usize,
    /// Bytes that may be held.
    pub(super) max_bytes: usize,
    /// Sampled traces that are remembered.
    pub(super) sampled_cache: usize,
    /// Other traces that are remembered.
    pub(super) not_sampled_cache: usize,
    /// Whether the policies' decisions are counted and everything is kept.
    pub(super) dry_run: bool,
    /// Bytes of a segment.
    pub(super) segment_bytes: usize,
    /// How large an outgoing request becomes.
    pub(super) request: RequestSize,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Shard {
    settings: Settings,
    policies: Arc<Policies>,
    /// Counts the changes of policies.
    generation: u16,
    buffer: Buffer,
    traces: Traces,
    /// Traces whose root has arrived, by when they are due for that.
    rooted: VecDeque<(Sequence, Instant)>,
    /// Traces of one span without a trace id, due at once.
    nameless: Vec<Trace>,
    decided: DecisionCache,
    outgoing: Outgoing,
    closing: bool,
    tally: Tally,
}

/// Which requests are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Any.
    Any,
    /// Only such as have the full size.
    Full,
}

/// What a shard holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Traces that wait.
    pub(super) traces: usize,
    /// Spans that wait or are about to leave.
    pub(super) spans: usize,
    /// Bytes of all that.
    pub(super) bytes: usize,
}

/// Where an arriving span stands.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    entry: ResourceEntry<'a>,
    resource: Resource<'a>,
    resource_number: u32,
    scope_entry: ScopeEntry<'a>,
    scope: u32,
    now: Instant,
}

/// How many places the row of traces may have for each trace that may wait: traces judged early
/// for their root leave holes.
const PLACES_PER_TRACE: usize = 4;
/// Traces judged at once to get below the byte limit, before it is looked at again.
const BYTES_SLICE: usize = 64;

impl Shard {
    /// An empty shard; `seed` keeps its tables from being attacked.
    pub(super) fn new(
        settings: Settings,
        policies: Arc<Policies>,
        seed: u64,
        epoch: Instant,
    ) -> Self {
        let (sampled, not_sampled) = (settings.sampled_cache, settings.not_sampled_cache);
        Self {
            buffer: Buffer::new(settings.segment_bytes, seed),
            traces: Traces::new(seed),
            rooted: VecDeque::new(),
            nameless: Vec::new(),
            decided: DecisionCache::new(sampled, not_sampled, seed, epoch),
            outgoing: Outgoing::default(),
            closing: false,
            tally: Tally { policies: policies.tallies(), ..Tally::default() },
            generation: 0,
            settings,
            policies,
        }
    }

    /// Judges by other policies from now on, also the traces that wait: each is shown to them once
    /// more when its next span arrives or when it is due. What was decided stands.
    ///
    /// Gives what happened until now, as told for the policies that were in force.
    pub(super) fn set_policies(&mut self, policies: Arc<Policies>) -> Tally {
        let tally = self.take_tally();
        self.buffer.headers.observe_again(|resource| policies.observe_resource(resource));
        self.tally.policies = policies.tallies();
        self.policies = policies;
        self.generation = self.generation.wrapping_add(1);
        tally
    }

    /// Takes the spans of a batch in. Limits are kept by [`Shard::judge`], which must follow.
    pub(super) fn admit(&mut self, batch: &Batch, now: Instant) {
        // A late piece of a trace is counted once, however many spans it has.
        let mut last_late = None;
        for entry in resources(batch.bytes()) {
            let resource = entry.resource();
            let policies = &self.policies;
            let headers = &mut self.buffer.headers;
            let resource_number =
                headers.acquire_resource(entry, |resource| policies.observe_resource(resource));
            for scope_entry in entry.scopes() {
                let scope = self.buffer.headers.acquire_scope(resource_number, scope_entry);
                let arrival = Arrival { entry, resource, resource_number, scope_entry, scope, now };
                for field in Fields::new(scope_entry.content) {
                    let (2, Value::Bytes(span)) = (field.number, field.value) else { continue };
                    self.tally.received_spans += 1;
                    match TraceId::try_from(batch.trace_id(span)) {
                        Ok(id) if id != [0; 16] => {
                            self.admit_span(id, span, field.raw, arrival, &mut last_late);
                        }
                        _ => self.admit_nameless(span, field.raw, arrival),
                    }
                }
                self.buffer.headers.release_scope(scope);
            }
            self.buffer.headers.release_resource(resource_number);
        }
    }

    #[inline]
    fn admit_span(
        &mut self,
        id: TraceId,
        span: &[u8],
        raw: &[u8],
        arrival: Arrival<'_>,
        last_late: &mut Option<TraceId>,
    ) {
        let sequence = match self.traces.find(&id) {
            Some(sequence) => sequence,
            None => {
                if let Some((verdict, age)) = self.decided.get(&id, arrival.now) {
                    if last_late.replace(id) != Some(id) {
                        self.tally.late_ages.note(age);
                    }
                    self.follow_verdict(verdict, raw, arrival.scope);
                    return;
                }
                self.tally.new_traces += 1;
                let generation = self.generation;
                self.traces.push(Trace { generation, ..Trace::new(id, arrival.now) })
            }
        };
        let trace = self.traces.get_mut(sequence).expect("it was just found or pushed");
        let was_rooted = trace.summary.rooted;
        if trace.generation != self.generation {
            show_again(trace, &self.buffer, &self.policies);
            trace.generation = self.generation;
        }
        add_span(trace, span, raw, arrival, &mut self.buffer, &self.policies);
        if let Some(wait) = self.settings.wait_after_root
            && trace.summary.rooted
            && !was_rooted
            && wait < self.settings.decision_wait
        {
            self.rooted.push_back((sequence, arrival.now + wait));
        }
    }

    /// A late span goes the way its trace went.
    fn follow_verdict(&mut self, verdict: Verdict, raw: &[u8], scope: u32) {
        match verdict.decision {
            Decision::Sampled => {
                self.tally.forwarded_late_spans += 1;
                if let Some(run) = self.buffer.append(None, scope, raw) {
                    self.outgoing.push_trace(run, &self.buffer);
                }
            }
            Decision::NotSampled | Decision::Dropped => self.tally.sampled_out_late_spans += 1,
        }
    }

    /// A span without a trace id is a trace by itself and waits for nothing.
    fn admit_nameless(&mut self, span: &[u8], raw: &[u8], arrival: Arrival<'_>) {
        self.tally.spans_without_trace_id += 1;
        let generation = self.generation;
        let mut trace = Trace { generation, ..Trace::new([0; 16], arrival.now) };
        add_span(&mut trace, span, raw, arrival, &mut self.buffer, &self.policies);
        self.nameless.push(trace);
    }

    /// Judges traces that are due, at most `max`, and those that are too many; tells how many.
    ///
    /// To be called until it tells 0, with [`Shard::take`] in between. `stopwatch` times the
    /// policies and decides nothing.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        max: usize,
        stopwatch: impl Fn() -> Instant,
    ) -> usize {
        let mut due = std::mem::take(&mut self.nameless);
        let over_bytes = self.held().bytes > self.settings.max_bytes;
        let mut early_for_bytes = if over_bytes { BYTES_SLICE.min(max) } else { 0 };
        while due.len() < max
            && let Some(sequence) = self.next_due(now, &mut early_for_bytes)
        {
            due.extend(self.traces.remove(sequence));
        }
        for trace in due.iter_mut().filter(|trace| trace.generation != self.generation) {
            show_again(trace, &self.buffer, &self.policies);
        }
        let verdicts = self.policies.judge(&due, now, &mut self.tally.policies, stopwatch);
        let judged = due.len();
        for (trace, mut verdict) in due.into_iter().zip(verdicts) {
            if self.settings.dry_run {
                self.tally.rehearsed[verdict.decision as usize] += 1;
                verdict = Verdict::DRY_RUN;
            }
            self.settle(&trace, verdict, now);
        }
        judged
    }

    /// The next trace to be judged; if before its time, counts why.
    fn next_due(&mut self, now: Instant, early_for_bytes: &mut usize) -> Option<Sequence> {
        let (front, trace) = self.traces.front()?;
        if now.saturating_duration_since(trace.arrived) >= self.settings.decision_wait {
            return Some(front);
        }
        while let Some((sequence, due)) = self.rooted.front().copied() {
            if self.traces.get(sequence).is_some() && due > now {
                break;
            }
            self.rooted.pop_front();
            if self.traces.get(sequence).is_some() {
                return Some(sequence);
            }
        }
        let num_traces = self.settings.num_traces;
        let early = &mut self.tally.early;
        if self.closing {
            early.shutdown += 1;
        } else if self.traces.len() > num_traces
            || self.traces.places() > num_traces.saturating_mul(PLACES_PER_TRACE).max(1024)
        {
            early.num_traces += 1;
        } else if *early_for_bytes > 0 {
            *early_for_bytes -= 1;
            early.bytes += 1;
        } else {
            return None;
        }
        Some(front)
    }

    fn settle(&mut self, trace: &Trace, verdict: Verdict, now: Instant) {
        self.tally.removal_ages.note(now.saturating_duration_since(trace.arrived));
        if trace.summary.trace_id != [0; 16] {
            self.decided.note(&trace.summary.trace_id, verdict, now);
        }
        self.tally.decisions[verdict.decision as usize] += 1;
        match verdict.decision {
            Decision::Sampled => {
                if let Some(last) = trace.last_run {
                    self.outgoing.push_trace(last, &self.buffer);
                }
            }
            Decision::NotSampled | Decision::Dropped => {
                self.tally.sampled_out_spans += self.buffer.release_chain(trace.last_run) as u64;
            }
        }
    }

    /// The next request of sampled spans.
    pub(super) fn take(&mut self, wanted: Take) -> Option<Batch> {
        let size = self.settings.request;
        if wanted == Take::Full && !self.outgoing.fills(size) {
            return None;
        }
        let (request, spans) = self.outgoing.take(size, &mut self.buffer)?;
        Some(Batch::empty(Signal::Traces).part(request.into(), spans))
    }

    /// From now on every trace is due.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Throws all traces that wait away, without a verdict.
    pub(super) fn discard(&mut self) {
        while let Some((sequence, _)) = self.traces.front() {
            let trace = self.traces.remove(sequence).expect("it is in front");
            self.tally.discarded_spans += self.buffer.release_chain(trace.last_run) as u64;
        }
    }

    /// Whether more is held than the settings allow.
    pub(super) fn is_over_limit(&self) -> bool {
        !self.nameless.is_empty()
            || self.traces.len() > self.settings.num_traces
            || self.held().bytes > self.settings.max_bytes && self.traces.len() > 0
    }

    /// What is held.
    pub(super) fn held(&self) -> Held {
        Held {
            traces: self.traces.len(),
            spans: self.buffer.log.spans(),
            bytes: self.buffer.allocated() + self.traces.allocated(),
        }
    }

    /// What happened since this was last asked.
    pub(super) fn take_tally(&mut self) -> Tally {
        let mut fresh = Tally { policies: self.policies.tallies(), ..Tally::default() };
        for (fresh, told) in fresh.policies.iter_mut().zip(&self.tally.policies) {
            // Times are published in whole microseconds; the rest is told next time.
            fresh.time = Duration::from_nanos(u64::from(told.time.subsec_nanos() % 1000));
        }
        std::mem::replace(&mut self.tally, fresh)
    }

    /// Gives memory back that was not needed since the last call.
    pub(super) fn trim(&mut self) {
        self.buffer.trim();
        self.traces.trim();
        if self.rooted.capacity() > 4 * self.rooted.len() {
            self.rooted.shrink_to(2 * self.rooted.len());
        }
    }
}

/// Appends a span to a trace and shows it to the policies.
#[inline]
fn add_span(
    trace: &mut Trace,
    span: &[u8],
    raw: &[u8],
    arrival: Arrival<'_>,
    buffer: &mut Buffer,
    policies: &Policies,
) {
    if let Some(run) = buffer.append(trace.last_run, arrival.scope, raw) {
        trace.last_run = Some(run);
        trace.seen = trace.seen.union(buffer.headers.seen(arrival.resource_number));
    }
    let span = Span::read(span);
    trace.summary.add(&span, raw.len());
    let under = (arrival.entry, arrival.resource, arrival.scope_entry);
    policies.observe(trace, &span, under);
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
