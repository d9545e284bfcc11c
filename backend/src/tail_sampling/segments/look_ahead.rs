//! Asks memory for stretches before they are needed. Without `unsafe` there is no prefetch; a loop that
//! only reads does as well.

use std::hint::black_box;

use super::{Log, NONE, StretchId};

/// Chains that are followed side by side, and for how many stretches. Measured when a step went from
/// run to run: to follow chains to their beginnings (16 steps) took longer than it saved.
const TOGETHER: usize = 32;
const STEPS: usize = 4;

impl Log {
    /// Asks memory for chains that leave or are let go next, by their ends. Each step of a chain waits
    /// for the one before, but not for those of other chains.
    pub(in super::super) fn look_ahead(&self, lasts: impl Iterator<Item = StretchId>) {
        let mut lasts = lasts.peekable();
        while let Some(some) = lasts.peek().copied() {
            let (mut ends, mut count) = ([NONE; TOGETHER], 0);
            for (end, last) in ends.iter_mut().zip(lasts.by_ref()) {
                *end = last;
                count += 1;
            }
            for _ in 0..STEPS {
                let mut is_done = true;
                for end in &mut ends[..count] {
                    // No branch by what memory is asked for: one guessed wrong would wait for it.
                    let is_end = *end == NONE;
                    let id = if is_end { some } else { *end };
                    let before = self.segments[id.segment].stretches[id.index as usize].before;
                    *end = if is_end { NONE } else { before };
                    is_done &= *end == NONE;
                }
                if is_done {
                    break;
                }
            }
            black_box(ends);
        }
    }
}
