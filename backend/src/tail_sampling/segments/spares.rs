//! Emptied buffers of segments, kept for the segments to come: as many as are needed.

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Spares {
    /// The one that was emptied last is used next.
    buffers: Vec<Vec<u8>>,
    /// The fewest there were in this while and in the one before: so many were not needed. A load
    /// that swings, as one that judging slows down does, needs them every other while.
    unused: [usize; 2],
    /// Segments begun in this while and in the one before.
    begun: [usize; 2],
    trims: u32,
    bytes: usize,
}

/// Calls of [`Spares::trim`] in a while, after which buffers are given back.
pub(super) const TRIMS: u32 = 2;

impl Spares {
    /// One for a segment that begins.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let spare = self.buffers.pop();
        self.unused[0] = self.unused[0].min(self.buffers.len());
        self.begun[0] += 1;
        self.bytes -= spare.as_ref().map_or(0, Vec::capacity);
        spare
    }

    /// Keeps one, if as many are needed.
    pub(super) fn keep(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < self.begun[0].max(self.begun[1]).max(1) {
            buffer.clear();
            self.bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }

    /// Gives back what has not been needed for a while.
    pub(super) fn trim(&mut self) {
        self.trims += 1;
        if self.trims >= TRIMS {
            let [this, before] = self.unused;
            self.shrink_to(self.buffers.len() - this.min(before));
            self.unused = [self.buffers.len(), this - this.min(before)];
            self.trims = 0;
            self.begun = [0, self.begun[0]];
        }
    }

    /// Gives back all but so many: first those that were not used for longest.
    pub(super) fn shrink_to(&mut self, kept: usize) {
        for buffer in self.buffers.drain(..self.buffers.len().saturating_sub(kept)) {
            self.bytes -= buffer.capacity();
        }
        self.unused = [self.buffers.len(); 2];
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buffers.len()
    }

    /// Bytes of these.
    pub(super) fn allocated(&self) -> usize {
        self.bytes
    }
}
