//! Keeps a message that could be logged for every batch to one line in a while.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the same message is logged at most.
pub const EVERY: Duration = Duration::from_secs(10);

/// Lets one message of a kind through in each [`EVERY`], and counts those it holds back.
#[derive(Debug, Default)]
pub struct Thin {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl Thin {
    /// One that has let nothing through yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to log now; if so, how many messages were held back since the last one.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.last {
            Some(last) if now.saturating_duration_since(last) < EVERY => {
                state.suppressed += 1;
                None
            }
            _ => {
                state.last = Some(now);
                Some(std::mem::take(&mut state.suppressed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_passes_in_each_period_and_says_how_many_did_not() {
        let thin = Thin::new();
        let start = crate::clock::now();
        assert_eq!(thin.pass(start), Some(0));
        assert_eq!(thin.pass(start + EVERY / 2), None);
        assert_eq!(thin.pass(start + EVERY / 2), None);
        assert_eq!(thin.pass(start + EVERY), Some(2));
    }
}
