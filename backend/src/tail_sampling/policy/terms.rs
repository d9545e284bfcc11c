//! On what terms policies decide: like which release, by which clock, and as one of how many.

use std::time::{Duration, Instant};

use shared::{clock, config_enum};

use crate::tail_sampling::tier::TierSize;

config_enum! {
    /// The release of the Collector whose decisions are copied where releases differ.
    pub(crate) enum Compat {
        /// v0.156, which all of this was compared with.
        V0156 = "v0.156",
        /// What its main branch does or has decided to do.
        Latest = "latest",
    }
}

/// See the module's head.
#[derive(Debug, Clone)]
pub(in crate::tail_sampling) struct Terms {
    /// Like which release.
    pub(in crate::tail_sampling) compat: Compat,
    /// As one of how many backends.
    pub(in crate::tail_sampling) tier: TierSize,
    /// Whether `probabilistic` heeds what trace states say of chance.
    pub(in crate::tail_sampling) use_tracestate: bool,
    /// By which clock.
    pub(in crate::tail_sampling) seconds: Seconds,
}

impl Terms {
    /// Terms that hold from now on.
    pub(in crate::tail_sampling) fn new(compat: Compat, tier: TierSize) -> Self {
        let seconds = Seconds::since(clock::now(), clock::unix_ns());
        Self { compat, tier, use_tracestate: false, seconds }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::new(Compat::V0156, TierSize::default())
    }
}

/// Tells in which second of the Unix epoch an instant lies.
///
/// The wall clock is read once, so that no step of it makes a second longer.
#[derive(Debug, Clone, Copy)]
pub(in crate::tail_sampling) struct Seconds {
    epoch: Instant,
    epoch_unix: Duration,
}

impl Seconds {
    /// At `epoch` the wall clock read `unix_ns`.
    pub(in crate::tail_sampling) fn since(epoch: Instant, unix_ns: u64) -> Self {
        Self { epoch, epoch_unix: Duration::from_nanos(unix_ns) }
    }

    /// The second of `now`; what is before the epoch counts as the epoch.
    pub(in crate::tail_sampling) fn of(self, now: Instant) -> u64 {
        (self.epoch_unix + now.saturating_duration_since(self.epoch)).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_begins_with_the_wall_clocks() {
        let epoch = clock::now();
        let seconds = Seconds::since(epoch, 7_900_000_000);
        let at = |millis| seconds.of(epoch + Duration::from_millis(millis));
        assert_eq!((at(0), at(99), at(100), at(1099), at(1100)), (7, 7, 8, 8, 9));
    }
}
