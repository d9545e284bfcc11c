//! Spans on their way out, joined into requests.
//!
//! A request holds the runs of many traces, put together by resource and scope, so that a header
//! stands in it once. The runs stay in the log until their request is written. What is to be
//! [written on them](super::inscription) is written then.

mod page;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use hashbrown::HashSet;

use super::buffer::Buffer;
use super::inscription::{Inscription, Reason};
use super::policy::Names;
use super::segments::{RunId, StretchId};
use page::Page;

/// How large a request becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestSize {
    /// Spans; the last run may pass it.
    pub(super) spans: usize,
    /// Bytes, headers included; the last run may pass it.
    pub(super) bytes: usize,
    /// Bytes that nothing but a run by itself may pass.
    pub(super) max_bytes: usize,
}

/// Runs that are to leave, in their order.
#[derive(Debug)]
pub(super) struct Outgoing {
    inscription: Inscription,
    runs: VecDeque<Leaving>,
    spans: usize,
    /// Of the spans alone.
    bytes: usize,
    /// Room to turn a chain around.
    chain: Vec<RunId>,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    run: RunId,
    reason: Reason,
}

/// A request that is ready.
#[derive(Debug)]
pub(super) struct Written {
    /// The request.
    pub(super) request: Vec<u8>,
    /// Its spans.
    pub(super) spans: usize,
    /// Spans whose trace state cannot be read, and so has no new threshold.
    pub(super) unreadable_trace_states: u64,
}

/// Tag and length of an entry.
const ENTRY_FRAME: usize = 6;

impl Outgoing {
    /// Nothing yet; this is what will be written on spans.
    pub(super) fn new(inscription: Inscription) -> Self {
        let runs = VecDeque::new();
        Self { inscription, runs, spans: 0, bytes: 0, chain: Vec::new() }
    }

    /// Adds a trace that is kept for a reason, the last stretch of which is `last`: about `max_runs`
    /// runs. Tells the end of what is left of the chain.
    pub(super) fn push_chain(
        &mut self,
        last: StretchId,
        reason: Reason,
        max_runs: usize,
        buffer: &Buffer,
    ) -> Option<StretchId> {
        let mut next = Some(last);
        while let Some(stretch) = next
            && self.chain.len() < max_runs
        {
            for id in buffer.log.runs(stretch) {
                let run = buffer.log.run(id);
                self.spans += run.spans;
                self.bytes += run.length;
                self.chain.push(id);
            }
            next = buffer.log.before(stretch);
        }
        // The chain goes from the last run to the first; spans leave as they came.
        self.runs.extend(self.chain.drain(..).rev().map(|run| Leaving { run, reason }));
        next
    }

    /// Spans that are to leave.
    #[cfg(test)]
    pub(super) fn spans(&self) -> usize {
        self.spans
    }

    /// Bytes of the spans that are to leave.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is enough for a request of this size.
    pub(super) fn fills(&self, size: RequestSize) -> bool {
        self.spans >= size.spans || self.bytes >= size.bytes
    }

    /// Writes the next request and lets go of its runs.
    pub(super) fn take(
        &mut self,
        size: RequestSize,
        buffer: &mut Buffer,
        names: &Names,
    ) -> Option<Written> {
        let picked = self.pick(size, buffer, names);
        if picked.is_empty() {
            self.runs = VecDeque::new();
            return None;
        }
        let runs = buffer.log.gather(picked.iter().map(|leaving| leaving.run));
        let mut page = Page::new(self.inscription, runs, buffer, names);
        for leaving in &picked {
            let run = buffer.log.run(leaving.run);
            self.spans -= run.spans;
            self.bytes -= run.length;
            page.add(run, leaving.reason);
        }
        let written = page.write();
        for leaving in picked {
            buffer.release_run(leaving.run);
        }
        Some(written)
    }

    /// The runs of the next request.
    fn pick(&mut self, size: RequestSize, buffer: &Buffer, names: &Names) -> Vec<Leaving> {
        let mut picked = Vec::new();
        let (mut spans, mut bytes) = (0, 0);
        let (mut resources, mut scopes) = (HashSet::new(), HashSet::new());
        while spans < size.spans
            && bytes < size.bytes
            && let Some(leaving) = self.runs.front().copied()
        {
            let run = buffer.log.run(leaving.run);
            let growth = match self.inscription.is_nothing() {
                true => 0,
                false => run.spans * self.inscription.growth(leaving.reason, names),
            };
            let resource = buffer.headers.resource_of(run.scope);
            let mut added = run.length + growth;
            if resources.insert(resource) {
                added += buffer.headers.resource_bytes(resource).len() + ENTRY_FRAME;
            }
            if scopes.insert((run.scope, self.inscription.on_scopes(leaving.reason))) {
                added += buffer.headers.scope_bytes(run.scope).len() + ENTRY_FRAME;
            }
            if !picked.is_empty() && bytes + added > size.max_bytes {
                break;
            }
            (spans, bytes) = (spans + run.spans, bytes + added);
            self.runs.pop_front();
            picked.push(leaving);
        }
        picked
    }
}
