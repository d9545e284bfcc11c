//! How long spans take before and during a fault.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// From when a span was due until it arrived, in microseconds.
pub(super) struct Latency {
    pub(super) before: Window,
    pub(super) during: Window,
}

/// All of a stretch of time, and what came of each second of it.
pub(super) struct Window {
    pub(super) all: Histogram<u64>,
    /// By the second in which the spans were due.
    seconds: BTreeMap<u64, Vec<u64>>,
}

impl Latency {
    pub(super) fn new() -> Self {
        Self { before: Window::new(), during: Window::new() }
    }

    /// How many times as long the slowest hundredth takes during the fault.
    pub(super) fn ratio(&self) -> Option<f64> {
        let p99 = |window: &Window| real(window.p99());
        self.measured().then(|| p99(&self.during) / p99(&self.before).max(1.0))
    }

    /// The same for a second as half of all seconds are or better.
    ///
    /// A host that takes a core away for some milliseconds a few times in half a minute decides what
    /// the p99 of all spans is; these seconds tell what the rest of the time was like.
    pub(super) fn typical_ratio(&self) -> Option<f64> {
        let typical = |window: &Window| real(window.typical_p99());
        self.measured().then(|| typical(&self.during) / typical(&self.before).max(1.0))
    }

    fn measured(&self) -> bool {
        !self.before.all.is_empty() && !self.during.all.is_empty()
    }
}

impl Window {
    fn new() -> Self {
        let all = Histogram::new_with_max(600_000_000, 3).expect("the bounds are valid");
        Self { all, seconds: BTreeMap::new() }
    }

    /// Notes a span that was due then.
    pub(super) fn record(&mut self, due_ns: u64, micros: u64) {
        self.all.saturating_record(micros);
        self.seconds.entry(due_ns / 1_000_000_000).or_default().push(micros);
    }

    /// The slowest hundredth took at least so long.
    pub(super) fn p99(&self) -> u64 {
        self.all.value_at_quantile(0.99)
    }

    /// The median of the seconds' p99.
    pub(super) fn typical_p99(&self) -> u64 {
        let p99s = self.seconds.values().map(|micros| {
            let mut micros = micros.clone();
            let index = (micros.len() - 1) * 99 / 100;
            *micros.select_nth_unstable(index).1
        });
        let mut p99s: Vec<u64> = p99s.collect();
        p99s.sort_unstable();
        p99s.get(p99s.len() / 2).copied().unwrap_or_default()
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn real(micros: u64) -> f64 {
    micros as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_that_the_host_took_decides_the_p99_and_not_the_typical_one() {
        let mut latency = Latency::new();
        for second in 0..9_u64 {
            for number in 0..100 {
                let due_ns = second * 1_000_000_000 + number;
                latency.before.record(due_ns, 100 + number);
                let hiccup = if second == 4 { 5_000 } else { 0 };
                latency.during.record(due_ns, 100 + number + hiccup);
            }
        }
        assert_eq!((latency.before.typical_p99(), latency.during.typical_p99()), (198, 198));
        assert_eq!(latency.typical_ratio(), Some(1.0));
        assert!(latency.ratio().is_some_and(|ratio| ratio > 20.0));
    }

    #[test]
    fn without_a_fault_there_is_no_ratio() {
        let mut latency = Latency::new();
        latency.before.record(5, 100);
        assert_eq!((latency.ratio(), latency.typical_ratio()), (None, None));
    }
}
