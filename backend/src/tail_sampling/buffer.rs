//! What is kept of spans: their bytes in the log, and the headers they are under.

use super::headers::Headers;
use super::sealing::Compression;
use super::segments::{Appended, Lane, Log, RunId, StretchId};

/// The log and its headers, which count the segments that noted them.
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

    /// Appends a span, a field of its scope entry, to the chain of stretches that ends with `last`.
    ///
    /// Gives the end of the chain, a new one or not, when a run was begun.
    #[inline]
    pub(super) fn append(
        &mut self,
        last: Option<StretchId>,
        scope: u32,
        span: &[u8],
    ) -> Option<StretchId> {
        match self.log.append(last, scope, span) {
            Appended::Run(stretch) => {
                self.note_scope(stretch, scope, Lane::Waiting);
                Some(stretch)
            }
            Appended::Extension => None,
        }
    }

    /// Appends a span that is about to leave, as a stretch of its own.
    pub(super) fn append_leaving(&mut self, scope: u32, span: &[u8]) -> StretchId {
        let stretch = self.log.append_leaving(scope, span);
        self.note_scope(stretch, scope, Lane::Leaving);
        stretch
    }

    #[inline]
    fn note_scope(&mut self, stretch: StretchId, scope: u32, lane: Lane) {
        let headers = &mut self.headers;
        self.log.note_scope(stretch, scope, |serial| headers.note_segment(scope, lane, serial));
    }

    /// Asks memory for chains that leave or are let go next, by their ends.
    pub(super) fn look_ahead(&self, lasts: impl Iterator<Item = StretchId>) {
        self.log.look_ahead(lasts);
    }

    /// Lets go of one run, once, of a stretch that will not be let go as a whole.
    pub(super) fn release_run(&mut self, id: RunId) {
        self.log.release_run(id);
    }

    /// Lets go of `max` stretches of the chain that ends with `last`; tells how many spans they had,
    /// and the end of what is left of the chain.
    pub(super) fn release_chain(
        &mut self,
        last: Option<StretchId>,
        max: usize,
    ) -> (usize, Option<StretchId>) {
        self.release_each(last, max, Log::release)
    }

    /// The same, long before the chain's turn.
    pub(super) fn release_chain_early(
        &mut self,
        last: Option<StretchId>,
        max: usize,
    ) -> (usize, Option<StretchId>) {
        self.release_each(last, max, Log::release_early)
    }

    #[inline]
    fn release_each(
        &mut self,
        last: Option<StretchId>,
        max: usize,
        release: impl Fn(&mut Log, StretchId) -> usize,
    ) -> (usize, Option<StretchId>) {
        let (mut next, mut spans) = (last, 0);
        for _ in 0..max {
            let Some(id) = next else { break };
            next = self.log.before(id);
            spans += release(&mut self.log, id);
        }
        (spans, next)
    }

    /// Lets go of `max` headers that segments held; tells whether there was one. What else lets go
    /// leaves that to be done, since a segment may have had many.
    pub(super) fn release_scopes(&mut self, max: usize) -> bool {
        for done in 0..max {
            let Some(scope) = self.log.take_freed_scope() else { return done > 0 };
            self.headers.release_scope(scope);
        }
        true
    }

    /// Whether there are headers that segments held and that are to be let go.
    pub(super) fn has_freed_scopes(&self) -> bool {
        self.log.has_freed_scopes()
    }

    /// Seals or packs about so many bytes of the log.
    pub(super) fn upkeep(&mut self, bytes: usize) {
        self.log.upkeep(bytes);
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
