//! Which batches of a log are no longer needed: all before the first that has no outcome.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of all batches.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The first that has no outcome.
    needed: u64,
    /// Those behind it that have one; no more than are read ahead.
    done: BTreeSet<u64>,
}

impl Progress {
    pub(super) fn new(needed: u64) -> Self {
        Self(Mutex::new(State { needed, done: BTreeSet::new() }))
    }

    /// The first batch that is still needed.
    pub(super) fn needed(&self) -> u64 {
        self.lock().needed
    }

    pub(super) fn done(&self, number: u64) {
        let mut state = self.lock();
        state.done.insert(number);
        while let needed = state.needed
            && state.done.remove(&needed)
        {
            state.needed += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One batch of a log.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    progress: Arc<Progress>,
    number: u64,
}

impl Position {
    pub(super) fn new(progress: &Arc<Progress>, number: u64) -> Self {
        Self { progress: Arc::clone(progress), number }
    }

    /// The batch has its outcome.
    pub(crate) fn done(&self) {
        self.progress.done(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_needed_until_all_before_it_have_an_outcome() {
        let progress = Arc::new(Progress::new(5));
        let [a, b, c] = [5, 6, 7].map(|number| Position::new(&progress, number));
        b.done();
        assert_eq!(progress.needed(), 5);
        a.done();
        assert_eq!(progress.needed(), 7);
        c.done();
        assert_eq!(progress.needed(), 8);
        assert!(progress.lock().done.is_empty());
    }
}
