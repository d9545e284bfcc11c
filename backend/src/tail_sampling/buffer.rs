//! What is kept of spans: their bytes in the log, and the headers they are under.

use super::headers::Headers;
use super::sealing::Compression;
use super::segments::{Appended, Log, RunId};

/// The log and its headers, which count the runs that are under them.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Span bytes.
    pub(super) log: Log,
    /// Resource and scope headers.
    pub(super) headers: Headers,
}

impl Buffer {
    /// An empty buffer.
    pub(super) fn new(segment_bytes: usize, compression: Compression, seed: u64) -> Self {
        Self { log: Log::new(segment_bytes, compression), headers: Headers::new(seed) }
    }

    /// Appends a span, a field of its scope entry, to the chain that ends with `last`.
    ///
    /// Gives the new end of the chain when a run was begun.
    #[inline]
    pub(super) fn append(&mut self, last: Option<RunId>, scope: u32, span: &[u8]) -> Option<RunId> {
        match self.log.append(last, scope, span) {
            Appended::Run(run) => {
                self.headers.add_run(scope);
                Some(run)
            }
            Appended::Extension => None,
        }
    }

    /// Appends a span that is about to leave, as a run of its own.
    pub(super) fn append_leaving(&mut self, scope: u32, span: &[u8]) -> RunId {
        self.headers.add_run(scope);
        self.log.append_leaving(scope, span)
    }

    /// Asks memory for chains that leave or are let go next, by their ends.
    pub(super) fn look_ahead(&self, lasts: impl Iterator<Item = RunId>) {
        self.log.look_ahead(lasts);
    }

    /// Lets go of one run.
    pub(super) fn release(&mut self, id: RunId) {
        let scope = self.log.run(id).scope;
        self.log.release(id);
        self.headers.release_scope(scope);
    }

    /// As [`Buffer::release_chain`], long before the chain's turn.
    pub(super) fn release_chain_early(
        &mut self,
        last: Option<RunId>,
        max_runs: usize,
    ) -> (usize, Option<RunId>) {
        let (mut next, mut spans) = (last, 0);
        for _ in 0..max_runs {
            let Some(id) = next else { break };
            let run = self.log.run(id);
            spans += run.spans;
            next = run.before;
            self.log.release_early(id);
            self.headers.release_scope(run.scope);
        }
        (spans, next)
    }

    /// Lets go of `max_runs` runs of the chain that ends with `last`; tells how many spans they had,
    /// and the end of what is left of the chain.
    pub(super) fn release_chain(
        &mut self,
        last: Option<RunId>,
        max_runs: usize,
    ) -> (usize, Option<RunId>) {
        let (mut next, mut spans) = (last, 0);
        for _ in 0..max_runs {
            let Some(id) = next else { break };
            let run = self.log.run(id);
            spans += run.spans;
            next = run.before;
            self.release(id);
        }
        (spans, next)
    }

    /// Bytes of all that.
    pub(super) fn allocated(&self) -> usize {
        self.log.allocated() + self.headers.allocated()
    }

    /// Gives memory back that was not needed since the last call.
    pub(super) fn trim(&mut self) {
        self.log.trim();
        self.headers.trim();
    }
}
