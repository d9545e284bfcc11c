//! `processors::delta_to_cumulative`, with the Collector's keys.
//!
//! Source: contrib processor/deltatocumulativeprocessor/config.go.

use std::time::Duration;

use crate::config::{NotSupported, Path, Problems};
use crate::config_struct;

config_struct! {
    /// Adds up deltas to totals.
    pub struct DeltaToCumulativeConfig {
        /// Forgets a stream after this time without points; its next point begins it anew.
        pub max_stale: Duration = Duration::from_secs(300),
        /// Streams that are kept; points of further ones are dropped. The Collector's default is
        /// no limit, which is 0 here.
        pub max_streams: usize = 500_000,
        /// Ours: bytes that all streams may take; points of new streams are dropped above it. 0 is
        /// no limit.
        pub max_bytes: usize = 256 << 20,
        /// Ours: adds points of several writers of one stream, whatever their times. Without it a
        /// stream is of one writer, as in the Collector, and points that do not follow the last
        /// one in time are dropped.
        pub merge_writers: bool = false,
        /// Ours: how many points of a stream are remembered where writers are merged, so that one
        /// that is delivered again counts once. 0 remembers none.
        pub duplicate_window: usize = 16,
        /// Where totals survive a restart.
        pub storage: NotSupported = NotSupported,
    }
}

impl DeltaToCumulativeConfig {
    /// Reports everything that is wrong.
    pub(super) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.max_stale.is_zero() {
            problems.report(&at.key("max_stale"), "must be a positive duration (got 0s)");
        }
        if self.duplicate_window > MAX_DUPLICATE_WINDOW {
            problems.report(
                &at.key("duplicate_window"),
                format!("must be at most {MAX_DUPLICATE_WINDOW}: every stream remembers so many"),
            );
        }
    }
}

/// Each remembered point takes eight bytes of its stream, and is compared with every other.
const MAX_DUPLICATE_WINDOW: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let config = DeltaToCumulativeConfig {
            max_stale: Duration::ZERO,
            duplicate_window: 1025,
            ..DeltaToCumulativeConfig::default()
        };
        let mut problems = Problems::default();
        config.check(&Path::ROOT, &mut problems);
        let found: Vec<_> = problems.errors().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "max_stale: must be a positive duration (got 0s)",
                "duplicate_window: must be at most 1024: every stream remembers so many",
            ]
        );
        let mut problems = Problems::default();
        DeltaToCumulativeConfig::default().check(&Path::ROOT, &mut problems);
        assert!(problems.is_empty());
    }
}
