//! Durations as the metrics have them.

use super::config::Unit;

/// Nanoseconds in another unit.
#[allow(clippy::cast_precision_loss, reason = "OTLP has doubles here")]
pub(crate) fn in_unit(nanos: u128, unit: Unit) -> f64 {
    let nanos_per_unit = match unit {
        Unit::Milliseconds => 1e6,
        Unit::Seconds => 1e9,
    };
    nanos as f64 / nanos_per_unit
}
