//! Spans come in: each joins its trace, begins one, or follows a decision.

use std::time::Instant;

use shared::Batch;
use shared::wire::export::{ResourceEntry, ScopeEntry, resources};
use shared::wire::{Fields, Resource, Span, Value};

use super::super::buffer::Buffer;
use super::super::deadlines::{Cause, Moment};
use super::super::evaluate::{Policies, Verdict};
use super::super::policy::Decision;
use super::super::sighting::show_again;
use super::super::trace::{Summary, Trace, TraceId};
use super::{Settings, Shard};

/// Where an arriving span stands.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    entry: ResourceEntry<'a>,
    resource: Resource<'a>,
    resource_number: u32,
    scope_entry: ScopeEntry<'a>,
    scope: u32,
    now: Instant,
    moment: Moment,
}

impl Shard {
    /// Takes the spans of a batch in. Limits are kept by [`Shard::judge`], which must follow.
    pub(in super::super) fn admit(&mut self, batch: &Batch, now: Instant) {
        let moment = self.deadlines.arrival(now);
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
                let arrival =
                    Arrival { entry, resource, resource_number, scope_entry, scope, now, moment };
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
                let sequence =
                    self.traces.push(Trace { generation, ..Trace::new(id, arrival.now) });
                self.deadlines.note_first_span(sequence, arrival.moment);
                sequence
            }
        };
        let trace = self.traces.get_mut(sequence).expect("it was just found or pushed");
        if trace.generation != self.generation {
            show_again(trace, &self.buffer, &self.policies);
            trace.generation = self.generation;
        }
        let before = trace.summary;
        add_span(trace, span, raw, arrival, &mut self.buffer, &self.policies);
        if trace.summary.rooted && !before.rooted {
            self.deadlines.note_root(sequence, arrival.moment);
        }
        if let Some(cause) = outgrown(&self.settings, before, trace.summary) {
            self.deadlines.note_large(sequence, cause);
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
        policies.note_resource(trace, arrival.resource);
    }
    let span = Span::read(span);
    trace.last_arrival = arrival.moment;
    trace.summary.add(&span, raw.len());
    let under = (arrival.entry, arrival.resource, arrival.scope_entry);
    policies.observe(trace, &span, under);
}

/// Which limit of the size of one trace a span has just passed.
#[inline]
fn outgrown(settings: &Settings, before: Summary, after: Summary) -> Option<Cause> {
    let passes = |limit: u64, before: u64, after: u64| before < limit && after >= limit;
    if passes(settings.max_trace_bytes.saturating_add(1), before.bytes, after.bytes) {
        return Some(Cause::TooLarge);
    }
    let spans = passes(settings.decision_after_spans, before.spans.into(), after.spans.into());
    let bytes = passes(settings.decision_after_bytes, before.bytes, after.bytes);
    (spans || bytes).then_some(Cause::Size)
}
