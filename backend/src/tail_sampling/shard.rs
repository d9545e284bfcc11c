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

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::Batch;
use shared::service::KeptTraces;
use shared::wire::Signal;

use super::buffer::Buffer;
use super::deadlines::Deadlines;
use super::decision_cache::{DecisionCache, Remembered};
use super::evaluate::Policies;
use super::former::Former;
use super::inscription::{Inscription, Reason};
use super::journal::{Journal, Judged};
use super::outgoing::{Outgoing, RequestSize, Written};
use super::places::Places;
use super::sealing::Compression;
use super::segments::StretchId;
use super::tally::Tally;
use super::trace::{Key, Trace};
use super::traces::{Sequence, Traces};

mod admit;
mod judge;

mod inspection;
mod pieces;

/// A shard's share of the settings.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the configuration")]
pub(super) struct Settings {
    /// How long a trace waits from its first span.
    pub(super) decision_wait: Duration,
    /// How long it waits from its root, if that is to count.
    pub(super) wait_after_root: Option<Duration>,
    /// How long it waits from its last span, if that is to count.
    pub(super) wait_after_idle: Option<Duration>,
    /// A trace of so many spans waits no longer.
    pub(super) decision_after_spans: u64,
    /// A trace of so many bytes waits no longer.
    pub(super) decision_after_bytes: u64,
    /// A trace of more bytes than this is not kept.
    pub(super) max_trace_bytes: u64,
    /// Traces that may wait.
    pub(super) num_traces: usize,
    /// Bytes that may be held.
    pub(super) max_bytes: usize,
    /// Whether nothing is judged early for these two.
    pub(super) block_on_overflow: bool,
    /// Sampled traces that are remembered.
    pub(super) sampled_cache: usize,
    /// Other traces that are remembered.
    pub(super) not_sampled_cache: usize,
    /// Whether the policies' decisions are counted and everything is kept.
    pub(super) dry_run: bool,
    /// Whether traces whose outcome is certain are held no longer.
    pub(super) early_release: bool,
    /// Whether pieces of traces are judged as they come in.
    pub(super) by_piece: bool,
    /// What is written on kept spans.
    pub(super) inscription: Inscription,
    /// How full segments are kept.
    pub(super) compression: Compression,
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
    /// Traces that wait and whose outcome was certain to these policies.
    released: usize,
    former: Former,
    buffer: Buffer,
    traces: Traces,
    /// Where the spans stand that are being taken in.
    places: Places,
    /// The traces that these are of, if pieces of them are judged.
    touched: Vec<Sequence>,
    /// Traces that are taken out to be judged.
    taken: Vec<(Sequence, Key)>,
    deadlines: Deadlines,
    /// Bytes of what policies wrote about traces.
    note_bytes: usize,
    /// Traces of one span without a trace id, due at once.
    nameless: Vec<Trace>,
    decided: DecisionCache,
    /// What is left of giants that leave or are let go, a little at a time.
    unfinished: Vec<(StretchId, Fate)>,
    outgoing: Outgoing,
    closing: bool,
    tally: Tally,
    /// Where others see which traces are kept.
    kept_traces: Arc<KeptTraces>,
    /// Only in a replay.
    journal: Option<Journal>,
}

/// Headers that are let go at once: a fraction of a millisecond.
const SCOPES_SLICE: usize = 1024;

/// What becomes of the spans of a trace.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// They leave.
    Kept(Reason),
    /// They are let go: the trace was judged.
    Discarded,
    /// They are let go long before the turn of their trace, whose outcome is certain.
    DiscardedEarly,
    /// They are let go: the trace is too large.
    TooLarge,
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
    /// Decisions about sampled and about other traces; their bytes are not among the others.
    pub(super) remembered: [Remembered; 2],
}

impl Shard {
    /// An empty shard; `seed` keeps its tables from being attacked.
    pub(super) fn new(
        settings: Settings,
        policies: Arc<Policies>,
        seed: u64,
        epoch: Instant,
    ) -> Self {
        let waits = [settings.wait_after_root, settings.wait_after_idle];
        let (sampled, not_sampled) = (settings.sampled_cache, settings.not_sampled_cache);
        Self {
            buffer: Buffer::new(settings.segment_bytes, settings.compression, seed),
            traces: Traces::new(seed),
            places: Places::default(),
            touched: Vec::new(),
            taken: Vec::new(),
            deadlines: Deadlines::new(epoch, settings.decision_wait, waits),
            note_bytes: 0,
            nameless: Vec::new(),
            decided: DecisionCache::new(sampled, not_sampled, seed, epoch),
            unfinished: Vec::new(),
            outgoing: Outgoing::new(settings.inscription),
            closing: false,
            kept_traces: Arc::default(),
            journal: None,
            tally: Tally { policies: policies.tallies(), ..Tally::default() },
            generation: 0,
            released: 0,
            former: Former::default(),
            settings,
            policies,
        }
    }

    /// From now on others see there which traces are kept.
    pub(super) fn announce_kept(&mut self, kept_traces: Arc<KeptTraces>) {
        self.kept_traces = kept_traces;
    }

    /// Judges by other policies from now on, also the traces that wait: each is shown to them once
    /// more when its next span arrives or when it is due. What was decided stands, and so does what
    /// was certain, of which spans may have left already.
    ///
    /// Gives what happened until now, as told for the policies that were in force.
    pub(super) fn set_policies(&mut self, policies: Arc<Policies>) -> Tally {
        let tally = self.take_tally();
        self.buffer.headers.observe_again(|resource| policies.observe_resource(resource));
        self.tally.policies = policies.tallies();
        let former = std::mem::replace(&mut self.policies, policies);
        self.former.push(self.generation, former, std::mem::take(&mut self.released));
        self.generation = self.generation.wrapping_add(1);
        tally
    }

    /// Judges by other policies and settings from now on. Only the settings that say when and how
    /// much may be others. See [`Shard::set_policies`].
    pub(super) fn change(&mut self, policies: Arc<Policies>, settings: Settings) -> Tally {
        let waits = [settings.wait_after_root, settings.wait_after_idle];
        self.deadlines.set_waits(settings.decision_wait, waits);
        self.settings = settings;
        self.set_policies(policies)
    }

    /// The next request of sampled spans.
    pub(super) fn take(&mut self, wanted: Take) -> Option<Batch> {
        let size = self.settings.request;
        if wanted == Take::Full && !self.outgoing.fills(size) {
            return None;
        }
        let written = self.outgoing.take(size, &mut self.buffer, self.policies.names())?;
        self.buffer.release_scopes(SCOPES_SLICE);
        let Written { request, spans, unreadable_trace_states } = written;
        self.tally.unreadable_trace_states += unreadable_trace_states;
        Some(Batch::empty(Signal::Traces).part(request.into(), spans))
    }

    /// From now on it is noted what is decided about each trace. Then [`Shard::judge`] is to be
    /// asked for one trace at a time.
    pub(super) fn keep_journal(&mut self) {
        self.journal = Some(Journal::default());
    }

    /// What was decided since this was last asked.
    pub(super) fn take_judged(&mut self) -> Vec<Judged> {
        self.journal.as_mut().map(Journal::take).unwrap_or_default()
    }

    /// From now on every trace is due.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Throws all traces that wait away, without a verdict. What was released early has left.
    pub(super) fn discard(&mut self) {
        while let Some((sequence, _)) = self.traces.front() {
            let trace = self.traces.remove(sequence).expect("it is in front");
            self.note_bytes -= trace.notes.allocated();
            let (spans, _) = self.buffer.release_chain(trace.last_stretch, usize::MAX);
            self.tally.discarded_spans += spans as u64;
        }
        self.buffer.release_scopes(usize::MAX);
        self.released = 0;
        self.former.clear();
    }

    /// Whether something is to be judged or let go at once: more is held than the settings allow, or
    /// there is what waits for nothing. Not so once [`Shard::judge`] tells 0.
    pub(super) fn is_over_limit(&self) -> bool {
        !self.nameless.is_empty()
            || !self.unfinished.is_empty()
            || self.buffer.has_freed_scopes()
            || self.deadlines.has_large()
            || !self.settings.block_on_overflow && self.exceeds_limits()
    }

    /// Whether nothing more may be taken in until traces are due.
    pub(super) fn is_full(&self) -> bool {
        self.settings.block_on_overflow && self.exceeds_limits()
    }

    fn exceeds_limits(&self) -> bool {
        self.traces.len() > self.settings.num_traces
            || self.held().bytes > self.settings.max_bytes && self.traces.len() > 0
    }

    /// Bytes of spans that are to leave.
    pub(super) fn outgoing_bytes(&self) -> usize {
        self.outgoing.bytes()
    }

    /// What is held.
    pub(super) fn held(&self) -> Held {
        Held {
            traces: self.traces.len(),
            spans: self.buffer.log.spans(),
            bytes: self.buffer.allocated()
                + self.traces.allocated()
                + self.deadlines.allocated()
                + self.note_bytes,
            remembered: self.decided.remembered(),
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

    /// Seals or packs about so many bytes of the buffer, if some are to be; tells whether more are.
    pub(super) fn upkeep(&mut self, bytes: usize) -> bool {
        self.buffer.upkeep(bytes);
        self.buffer.release_scopes(SCOPES_SLICE);
        self.has_upkeep()
    }

    /// Whether there is something to seal or to pack.
    pub(super) fn has_upkeep(&self) -> bool {
        self.buffer.log.backlog() > 0
    }

    /// Gives memory back that was not needed since the last call.
    pub(super) fn trim(&mut self) {
        self.buffer.trim();
        self.traces.trim();
        self.deadlines.trim(&self.traces);
    }
}

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod twins;
