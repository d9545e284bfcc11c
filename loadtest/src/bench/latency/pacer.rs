//! Waits until a time, to some microseconds: tokio's own timers have steps of a millisecond, which
//! is as much as an open loop may be late.

use std::time::Instant;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

/// Blocks the thread until `due`; not at all if that is past.
pub(super) fn sleep_until(due: Instant) -> Result<(), Errno> {
    loop {
        let wait = due.saturating_duration_since(shared::clock::now());
        if wait.is_zero() {
            return Ok(());
        }
        let wait = TimeSpec::from_duration(wait);
        match clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &wait) {
            // A signal's handler ran; the rest is slept by the next turn.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_is_reached_and_the_past_is_no_wait() {
        let started = shared::clock::now();
        for microseconds in [500, 700, 1200] {
            let due = started + Duration::from_micros(microseconds);
            sleep_until(due).unwrap();
            assert!(shared::clock::now() >= due);
        }
        sleep_until(started).unwrap();
    }
}
