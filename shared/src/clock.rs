//! The two clocks that shells ask. Cores are told the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, monotonic. Follows tokio's clock, so that tests may pause it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Now, in nanoseconds since the Unix epoch; 0 if the machine's clock stands before it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}
