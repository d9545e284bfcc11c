//! Medians with their extremes, and ratios of rounds that followed each other.

use super::results::{Comparison, Gate, Round, Side, Spread};

impl Spread {
    /// Of these values; all zero if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first().copied(), values.last().copied()) else {
            return Self::default();
        };
        let middle = values.len() / 2;
        let median = match values.len().is_multiple_of(2) {
            true => f64::midpoint(values[middle - 1], values[middle]),
            false => values[middle],
        };
        Self { median, min, max }
    }
}

impl Gate {
    /// Whether the round counts.
    pub fn holds(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Round {
    /// CPU-seconds a million spans.
    pub fn cpu(&self) -> f64 {
        self.per_million(self.usage.cpu_seconds())
    }

    /// As much of something as a million spans would have needed.
    pub fn per_million(&self, amount: f64) -> f64 {
        amount * 1e6 / real(self.spans.max(1))
    }

    /// Spans a second, by the clock.
    pub fn spans_per_second(&self) -> f64 {
        real(self.spans) / self.seconds.max(1e-9)
    }
}

/// The pairs of rounds in which both sides did their work: the system under test, and the peer.
fn pairs(rounds: &[Round]) -> impl Iterator<Item = (&Round, &Round)> {
    let counted =
        |side| rounds.iter().filter(move |round| round.side == side && round.gate.holds());
    counted(Side::Sut).filter_map(move |sut| {
        let peer = counted(Side::Peer).find(|peer| peer.pair == sut.pair)?;
        Some((sut, peer))
    })
}

impl Comparison {
    /// The peer's figures by those of the system under test; `None` if no pair counts.
    pub fn of(rounds: &[Round]) -> Option<Self> {
        let ratios = |figure: fn(&Round) -> f64| {
            pairs(rounds).map(move |(sut, peer)| figure(peer) / figure(sut).max(1e-12))
        };
        let cpu_pairs: Vec<f64> = ratios(Round::cpu).collect();
        if cpu_pairs.is_empty() {
            return None;
        }
        let held: Vec<f64> = pairs(rounds)
            .filter_map(|(sut, peer)| {
                let held = |round: &Round| round.usage.held_bytes_per_span;
                Some(held(peer)? / held(sut)?.max(1e-12))
            })
            .collect();
        Some(Self {
            cpu: Spread::of(cpu_pairs.iter().copied()),
            time: Spread::of(ratios(|round| round.seconds / real(round.spans.max(1)))),
            peak_rss: Spread::of(ratios(|round| real(round.usage.peak_rss_bytes))),
            held: (!held.is_empty()).then(|| Spread::of(held)),
            cpu_pairs,
        })
    }
}

/// A count as a number to calculate with.
#[allow(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::results::{Fidelity, Leg, RoundUsage};

    pub(in crate::bench) fn round(side: Side, pair: usize, cpu_seconds: f64) -> Round {
        Round {
            side,
            pair,
            spans: 1_000_000,
            seconds: 2.0,
            usage: RoundUsage {
                user_seconds: cpu_seconds / 2.0,
                system_seconds: cpu_seconds / 2.0,
                peak_rss_bytes: 1 << 20,
                loaded_rss_bytes: 1 << 20,
                held_bytes_per_span: None,
                voluntary_switches: 0,
                involuntary_switches: 0,
            },
            inbound: Leg::default(),
            outbound: Leg::default(),
            retries: 0,
            steal_percent: 0.0,
            memory: Vec::new(),
            gate: Gate {
                fidelity: Fidelity::Bytes,
                expected_spans: 0,
                received_spans: 0,
                expected_sum: String::new(),
                received_sum: String::new(),
                expected_traces: 0,
                received_traces: 0,
                failures: Vec::new(),
            },
            doubts: Vec::new(),
        }
    }

    #[test]
    fn a_median_lies_between_its_extremes() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([1.0, 2.0]).median.to_bits(), 1.5_f64.to_bits());
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn ratios_are_those_of_pairs_and_not_of_medians() {
        // The machine became slower in the third pair, for both alike.
        let rounds: Vec<Round> = [(0, 1.0, 10.0), (1, 1.0, 12.0), (2, 3.0, 33.0)]
            .into_iter()
            .flat_map(|(pair, sut, peer)| {
                [round(Side::Sut, pair, sut), round(Side::Peer, pair, peer)]
            })
            .collect();
        let comparison = Comparison::of(&rounds).unwrap();
        assert_eq!(comparison.cpu, Spread { median: 11.0, min: 10.0, max: 12.0 });
        assert_eq!(comparison.time, Spread { median: 1.0, min: 1.0, max: 1.0 });
    }

    #[test]
    fn a_void_round_takes_its_pair_with_it() {
        let mut void = round(Side::Peer, 0, 9.0);
        void.gate.failures.push("spans are missing".to_owned());
        let rounds =
            [round(Side::Sut, 0, 1.0), void, round(Side::Peer, 1, 4.0), round(Side::Sut, 1, 2.0)];
        assert_eq!(Comparison::of(&rounds).unwrap().cpu_pairs, [2.0]);
        assert_eq!(Comparison::of(&rounds[..2]), None);
    }
}
