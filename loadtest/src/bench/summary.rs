//! Medians of one gateway's rounds.

use std::time::Duration;

use super::results::{Leg, Round, Side, Spread, Summary};
use super::spread::real;

/// Sums up the rounds that count; `idle` is the memory some time after the last.
pub(super) fn summarize(
    side: Side,
    rounds: &[&Round],
    start_rss_bytes: u64,
    idle: (u64, Duration),
) -> Summary {
    let counted: Vec<&Round> = rounds.iter().filter(|round| round.gate.holds()).copied().collect();
    let spread = |figure: &dyn Fn(&Round) -> f64| Spread::of(counted.iter().map(|r| figure(r)));
    let median = |figure: &dyn Fn(&Round) -> f64| spread(figure).median;
    let by_span = |leg: fn(&Round) -> &Leg| {
        median(&|round| real(leg(round).wire_bytes) / real(round.spans.max(1)))
    };
    let by_million =
        |leg: fn(&Round) -> &Leg| median(&|round| round.per_million(real(leg(round).requests)));
    let held: Vec<f64> =
        counted.iter().filter_map(|round| round.usage.held_bytes_per_span).collect();
    Summary {
        side,
        rounds: counted.len(),
        cpu: spread(&Round::cpu),
        user: spread(&|round| round.per_million(round.usage.user_seconds)),
        system: spread(&|round| round.per_million(round.usage.system_seconds)),
        spans_per_second: spread(&Round::spans_per_second),
        spans_per_core_second: spread(&|round| {
            real(round.spans) / round.usage.cpu_seconds().max(1e-9)
        }),
        peak_rss_bytes: counted.iter().map(|r| r.usage.peak_rss_bytes).max().unwrap_or(0),
        start_rss_bytes,
        idle_rss_bytes: idle.0,
        idle_seconds: idle.1.as_secs_f64(),
        held_bytes_per_span: (!held.is_empty()).then(|| Spread::of(held)),
        switches: spread(&|round| {
            let usage = round.usage;
            round.per_million(real(usage.voluntary_switches + usage.involuntary_switches))
        }),
        wire_bytes_per_span: [by_span(|round| &round.inbound), by_span(|round| &round.outbound)],
        requests_per_million: [
            by_million(|round| &round.inbound),
            by_million(|round| &round.outbound),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::spread::tests::round;

    #[test]
    fn void_rounds_are_left_out() {
        let mut void = round(Side::Sut, 1, 100.0);
        void.gate.failures.push("spans are missing".to_owned());
        let good = [round(Side::Sut, 0, 1.0), round(Side::Sut, 2, 3.0)];
        let rounds = [&good[0], &void, &good[1]];
        let summary = summarize(Side::Sut, &rounds, 7, (9, Duration::from_secs(10)));
        assert_eq!(summary.rounds, 2);
        assert_eq!(summary.cpu, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(summary.user.median.to_bits(), 1.0_f64.to_bits());
        assert_eq!((summary.start_rss_bytes, summary.idle_rss_bytes), (7, 9));
        assert_eq!(summary.spans_per_second.median.to_bits(), 500_000.0_f64.to_bits());
        assert_eq!(summary.held_bytes_per_span, None);
    }
}
