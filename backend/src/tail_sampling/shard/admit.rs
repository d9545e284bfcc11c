//! Spans come in: each joins its trace, begins one, or follows a decision.

use std::time::Instant;

use shared::Batch;
use shared::wire::Resource;
use shared::wire::export::{ResourceEntry, ScopeEntry, resources};

use super::super::deadlines::{Cause, Moment};
use super::super::evaluate::{Policies, Verdict};
use super::super::inscription::{Reason, Source};
use super::super::outcome::Outcome;
use super::super::places::Place;
use super::super::policy::{ReadSpan, Seen};
use super::super::sighting::show_again;
use super::super::trace::{Key, Summary, Trace, TraceId};
use super::super::traces::Sequence;
use super::{Fate, Settings, Shard};

/// Where an arriving span stands.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    entry: ResourceEntry<'a>,
    resource: Resource<'a>,
    resource_seen: Seen,
    scope_entry: ScopeEntry<'a>,
    scope: u32,
    now: Instant,
    moment: Moment,
}

/// Spans whose traces are looked for together: enough that what memory takes for one is used for
/// the others.
const TOGETHER: usize = 32;

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
            let resource_seen = self.buffer.headers.seen(resource_number);
            for scope_entry in entry.scopes() {
                let mut places = std::mem::take(&mut self.places);
                places.clear();
                let note = |place| places.note(place);
                let scope = self.buffer.headers.acquire_scope(resource_number, scope_entry, note);
                let arrival =
                    Arrival { entry, resource, resource_seen, scope_entry, scope, now, moment };
                loop {
                    for some in places.noted().chunks(TOGETHER) {
                        self.admit_some(batch, some, arrival, &mut last_late);
                    }
                    if !places.go_on(scope_entry.content) {
                        break;
                    }
                }
                self.places = places;
                self.buffer.headers.release_scope(scope);
            }
            if self.settings.by_piece {
                self.judge_pieces(now);
            }
            self.buffer.headers.release_resource(resource_number);
        }
    }

    /// Takes in spans that stand in a row, [`TOGETHER`] at most.
    fn admit_some(
        &mut self,
        batch: &Batch,
        places: &[Place],
        arrival: Arrival<'_>,
        last_late: &mut Option<TraceId>,
    ) {
        let entry = arrival.scope_entry.content;
        let mut found: [(Key, Option<Sequence>); TOGETHER] = Default::default();
        for (place, found) in places.iter().zip(&mut found) {
            if let Ok(id) = TraceId::try_from(batch.trace_id(place.span(entry))) {
                let key = self.traces.key(id);
                *found = (key, self.traces.find(key));
            }
        }
        let unknown = found[..places.len()].iter().filter(|(_, sequence)| sequence.is_none());
        self.decided.look_ahead(unknown.map(|(key, _)| *key));
        self.tally.received_spans += places.len() as u64;
        for (index, place) in places.iter().enumerate() {
            let (span, raw) = (place.span(entry), place.field(entry));
            let (key, mut known) = found[index];
            if key.id == TraceId::default() {
                self.admit_nameless(span, raw, arrival);
                continue;
            }
            if known.is_none() {
                // Its trace may have begun a few spans ago.
                let begun = found[..index].iter().find(|(other, _)| *other == key);
                known = begun.and_then(|(_, sequence)| *sequence);
            }
            found[index].1 = self.admit_span((key, known), span, raw, arrival, last_late);
        }
    }

    /// Takes a span in whose trace waits at `known`, or does not wait; tells where it waits then.
    #[inline]
    fn admit_span(
        &mut self,
        (key, known): (Key, Option<Sequence>),
        span: &[u8],
        raw: &[u8],
        arrival: Arrival<'_>,
        last_late: &mut Option<TraceId>,
    ) -> Option<Sequence> {
        let sequence = match known {
            Some(sequence) => sequence,
            None => {
                if let Some((verdict, age)) = self.decided.get(key, arrival.now) {
                    if last_late.replace(key.id) != Some(key.id) {
                        self.tally.late_ages.note(age);
                    }
                    self.follow_verdict(verdict, raw, arrival.scope);
                    return None;
                }
                self.tally.new_traces += 1;
                let generation = self.generation;
                let Key { id, hash } = key;
                let sequence =
                    self.traces.push(Trace { hash, generation, ..Trace::new(id, arrival.now) });
                self.deadlines.note_first_span(sequence, arrival.moment);
                sequence
            }
        };
        let trace = self.traces.get_mut(sequence).expect("it was just found or pushed");
        // Counted again when the span has been noted.
        self.note_bytes -= trace.notes.allocated();
        if self.settings.by_piece {
            trace.generation = self.generation;
            self.touched.push(sequence);
        } else if trace.generation != self.generation && trace.outcome.is_none() {
            show_again(trace, &self.buffer, &self.policies);
            trace.generation = self.generation;
        }
        let (before, seen) = (trace.summary, trace.seen);
        trace.last_arrival = arrival.moment;
        let read = self.policies.read(span);
        trace.summary.add(&read.span, raw.len());
        // Policies that are gone need not see more of what was certain to them.
        if trace.generation == self.generation {
            show(trace, &read, arrival, &self.policies);
        }
        if trace.summary.rooted && !before.rooted {
            self.deadlines.note_root(sequence, arrival.moment);
        }
        if let Some(cause) = outgrown(&self.settings, before, trace.summary) {
            self.deadlines.note_large(sequence, cause);
        }
        if trace.outcome.is_none()
            && (trace.seen != seen || may_be_certain_by_size(before, trace.summary))
        {
            self.release_if_certain(sequence, arrival.now);
        }
        self.keep_span(sequence, raw, arrival);
        Some(sequence)
    }

    /// Lets what is held of a trace leave, or lets go of it, if its outcome is certain.
    fn release_if_certain(&mut self, sequence: Sequence, now: Instant) {
        let Some(trace) = self.traces.get_mut(sequence) else { return };
        trace.outcome = Outcome::certain(&self.policies, &trace.case(now), &self.settings);
        let Some(outcome) = trace.outcome else { return };
        self.released += 1;
        self.tally.certain[outcome as usize] += 1;
        let last = trace.last_stretch.take();
        self.part_with(
            last,
            match outcome {
                Outcome::Kept => Fate::Kept(certain(outcome)),
                Outcome::Discarded => Fate::DiscardedEarly,
            },
        );
    }

    /// Holds a span of a trace, or does with it what is certain.
    #[inline]
    fn keep_span(&mut self, sequence: Sequence, raw: &[u8], arrival: Arrival<'_>) {
        let Some(trace) = self.traces.get_mut(sequence) else { return };
        let mut is_new_run = true;
        if trace.outcome.is_none() {
            match self.buffer.append(trace.last_stretch, arrival.scope, raw) {
                Some(stretch) => trace.last_stretch = Some(stretch),
                None => is_new_run = false,
            }
        }
        // What is under one resource in a row notes it once.
        if is_new_run && trace.generation == self.generation {
            self.policies.note_resource(trace, arrival.resource);
        }
        self.note_bytes += trace.notes.allocated();
        match trace.outcome {
            None => {}
            Some(Outcome::Kept) => self.leave(raw, arrival.scope, certain(Outcome::Kept)),
            Some(Outcome::Discarded) => self.tally.sampled_out_spans += 1,
        }
    }

    fn leave(&mut self, raw: &[u8], scope: u32, reason: Reason) {
        let stretch = self.buffer.append_leaving(scope, raw);
        self.part_with(Some(stretch), Fate::Kept(reason));
    }

    /// A late span goes the way its trace went.
    fn follow_verdict(&mut self, verdict: Verdict, raw: &[u8], scope: u32) {
        match Outcome::of(verdict.decision) {
            Outcome::Kept => {
                self.tally.forwarded_late_spans += 1;
                self.leave(raw, scope, Reason::of(verdict, Source::Memory));
            }
            Outcome::Discarded => self.tally.sampled_out_late_spans += 1,
        }
    }

    /// A span without a trace id is a trace by itself and waits for nothing.
    fn admit_nameless(&mut self, span: &[u8], raw: &[u8], arrival: Arrival<'_>) {
        self.tally.spans_without_trace_id += 1;
        let generation = self.generation;
        let mut trace = Trace { generation, ..Trace::new([0; 16], arrival.now) };
        let read = self.policies.read(span);
        trace.summary.add(&read.span, raw.len());
        show(&mut trace, &read, arrival, &self.policies);
        self.policies.note_resource(&mut trace, arrival.resource);
        trace.last_stretch = Some(self.buffer.append_leaving(arrival.scope, raw));
        self.nameless.push(trace);
    }
}

/// Why a trace is kept that waits with this outcome. It is not known which policy will have decided,
/// so nothing is kept early of which more is to be written down.
fn certain(outcome: Outcome) -> Reason {
    Reason::of(outcome.verdict(), Source::Policies)
}

/// Shows the policies a span that the trace's summary has in it.
#[inline]
fn show(trace: &mut Trace, read: &ReadSpan<'_>, arrival: Arrival<'_>, policies: &Policies) {
    trace.seen = trace.seen.union(arrival.resource_seen);
    policies.observe(trace, read, (arrival.entry, arrival.resource, arrival.scope_entry));
}

/// Whether it is worth asking if the outcome is certain, when nothing new was seen in a span. Size may
/// make it so, which matters for large traces; those are asked about each time they double.
#[inline]
fn may_be_certain_by_size(before: Summary, after: Summary) -> bool {
    let doubled = after.spans >= 16 && after.spans.is_power_of_two();
    after.spans == 1 || doubled || after.rooted != before.rooted
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
