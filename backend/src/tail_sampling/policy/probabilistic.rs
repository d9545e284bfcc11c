//! `probabilistic`: keeps a share of all traces, chosen by trace id alone.
//!
//! Bit for bit the Collector's choice, so instances of both agree on every trace. With
//! `use_tracestate`, a trace whose spans say something of chance is chosen by its randomness, as
//! samplers before this one have done, and the salt does not matter.
//! Source: contrib v0.156 and v0.157 tailsamplingprocessor/internal/sampling/probabilistic.go.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::{
    Ballot, Builder, Case, Decision, Marks, Notes, Policy, PolicyConfig, Rule, Sight, Threshold,
    Vote, randomness,
};

config_struct! {
    /// `probabilistic`.
    pub(super) struct ProbabilisticConfig {
        /// Share of the traces that are kept, in percent.
        pub sampling_percentage: f64 = 0.0,
        /// Makes the choice independent of that of other samplers; empty is the default salt.
        pub hash_salt: String = String::new(),
    }
}

/// The salt when none is configured.
const DEFAULT_SALT: &str = "default-hash-seed";

impl PolicyConfig for ProbabilisticConfig {
    const TYPE: &'static str = "probabilistic";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("sampling_percentage");
        if self.sampling_percentage.is_nan() {
            problems.report(&at, "must be a number");
        } else if !(0.0..=100.0).contains(&self.sampling_percentage) {
            problems.warn(&at, "is outside of 0 to 100 and is taken as the nearer of the two");
        }
    }

    fn keeps_everything(&self) -> bool {
        self.sampling_percentage >= 100.0
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let salt = match self.hash_salt.as_str() {
            "" => DEFAULT_SALT,
            salt => salt,
        };
        let heeds_trace_state = builder.terms().use_tracestate;
        builder.policy(Probabilistic::new(
            self.sampling_percentage / 100.0,
            salt,
            heeds_trace_state,
        ))
    }
}

/// Below this share of all traces, which a threshold cannot say, none is kept by its randomness.
const MIN_RATIO: f64 = 1.0 / 72_057_594_037_927_936.0;

struct Probabilistic {
    /// The hash after the salt.
    salted: u64,
    /// The largest hash that is kept.
    threshold: u64,
    /// How hard it is to be kept.
    passed: Threshold,
    /// The share that is kept.
    ratio: f64,
    heeds_trace_state: bool,
}

impl Probabilistic {
    fn new(ratio: f64, salt: &str, heeds_trace_state: bool) -> Self {
        Self {
            salted: fnv1a(FNV_OFFSET, salt.as_bytes()),
            threshold: threshold(ratio),
            passed: Threshold::keeping(ratio),
            ratio,
            heeds_trace_state,
        }
    }

    fn decide(&self, case: &Case<'_>) -> Decision {
        let told = self.heeds_trace_state.then(|| randomness::told(case)).flatten();
        Decision::sampled_if(match told {
            Some(value) => self.ratio >= MIN_RATIO && value >= self.passed.parts(),
            None => fnv1a(self.salted, &case.summary.trace_id) <= self.threshold,
        })
    }
}

impl Policy for Probabilistic {
    fn takes_notes(&self) -> bool {
        self.heeds_trace_state
    }

    fn note(&self, sight: &Sight<'_>, notes: &mut Notes) {
        randomness::note(sight, notes);
    }

    fn evaluate(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        Ok(Vote { threshold: self.passed, ..Vote::of(self.decide(case)) })
    }

    /// Open as long as a span may come that says something of chance.
    fn foregone(&self, _marks: Marks, case: &Case<'_>) -> Option<Decision> {
        let is_certain = !self.heeds_trace_state || self.ratio >= 1.0;
        is_certain.then(|| self.decide(case))
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a of 64 bits, continued from `hash`.
#[inline]
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// `ratio` of the largest hash, as Go's big floats give it: the product of 2^64 − 1 and the ratio
/// is rounded to 64 significant bits, halves to even, and then cut to an integer.
fn threshold(ratio: f64) -> u64 {
    if ratio <= 0.0 {
        return 0;
    }
    if ratio >= 1.0 {
        return u64::MAX;
    }
    let bits = ratio.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    // ratio = mantissa · 2^exponent; the sign bit is not set.
    let (mantissa, mut exponent) = match (bits >> 52).cast_signed() {
        0 => (fraction, -1074),
        biased => (fraction | 1 << 52, biased - 1075),
    };
    let product = u128::from(u64::MAX) * u128::from(mantissa);
    let excess = (u128::BITS - product.leading_zeros()).saturating_sub(64);
    let mut significant = product >> excess;
    if excess > 0 {
        let (rest, half) = (product & ((1 << excess) - 1), 1_u128 << (excess - 1));
        if rest > half || rest == half && significant & 1 == 1 {
            significant += 1;
        }
        exponent += i64::from(excess);
    }
    // Below 1 the ratio is at most 1 − 2^−53, so the exponent is negative here.
    let shift = u32::try_from(-exponent).unwrap_or_default();
    let cut = significant.checked_shr(shift).unwrap_or_default();
    u64::try_from(cut).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::testing::check_ids;
    use super::*;
    use crate::tail_sampling::trace::Summary;

    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
            (DEFAULT_SALT, 0x39f8_8fe9_4395_b4fd),
            ("custom-salt", 0xa350_e39f_c7a1_4fa5),
        ] {
            assert_eq!(fnv1a(FNV_OFFSET, text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn thresholds_are_the_collectors() {
        for (percentage, expected) in [
            (0.0001, 0x10c6_f7a0_b5ed),
            (0.01, 0x0006_8db8_bac7_10cb),
            (0.1, 0x0041_8937_4bc6_a7ef),
            (1.0, 0x028f_5c28_f5c2_8f5f),
            (5.0, 0x0ccc_cccc_cccc_ccff),
            (10.0, 0x1999_9999_9999_99ff),
            (25.0, 0x3fff_ffff_ffff_ffff),
            (33.3333, 0x5555_4fbd_ad75_17ff),
            (50.0, 0x7fff_ffff_ffff_ffff),
            (75.0, 0xbfff_ffff_ffff_ffff),
            (90.0, 0xe666_6666_6666_67ff),
            (99.9, 0xffbe_76c8_b439_5fff),
            (100.0, u64::MAX),
            (150.0, u64::MAX),
            (-50.0, 0),
            (0.0, 0),
            (1e-300, 0),
            (f64::MIN_POSITIVE / 8.0, 0),
        ] {
            assert_eq!(threshold(percentage / 100.0), expected, "{percentage} %");
        }
    }

    #[test]
    fn what_trace_states_say_of_chance_goes_before_the_hash() {
        const LOW: u128 = 0x10_0000_0000_0000;
        const HIGH: u128 = 0xf0_0000_0000_0000;
        // The hash keeps the one id of these two, whatever their randomness.
        let check = |id: u128, trace_states: &[&str], heeds: bool| {
            let policy = Probabilistic::new(0.5, DEFAULT_SALT, heeds);
            let mut notes = Notes::default();
            for state in trace_states {
                randomness::note_trace_state(state.as_bytes(), &mut notes);
            }
            let summary = Summary { trace_id: id.to_be_bytes(), ..Summary::default() };
            let (seen, now) = (Seen::default(), shared::clock::now());
            let case = Case { seen, summary: &summary, notes: &notes, now };
            let vote = policy.evaluate(Marks::NONE, &case).unwrap();
            assert_eq!(vote.threshold.parts(), 1 << 55);
            vote.decision == Decision::Sampled
        };
        let by_hash = |id| check(id, &["ot=th:8;rv:ffffffffffffff"], false);
        assert_eq!(check(LOW, &[], true), by_hash(LOW));
        assert_eq!(check(HIGH, &["vendor=x", "ot=p:1", "broken"], true), by_hash(HIGH));
        // A threshold makes the id count, a random value replaces it.
        assert!(!check(LOW, &["", "ot=th:0"], true));
        assert!(check(HIGH, &["ot=th:8"], true));
        assert!(check(LOW, &["ot=th:0", "ot=rv:80000000000000"], true));
        assert!(!check(HIGH, &["ot=rv:7fffffffffffff", "ot=rv:ffffffffffffff"], true));
    }

    /// What a Collector of the version in the file's name kept, asked over OTLP.
    #[test]
    fn every_decision_is_the_collectors() {
        let golden = include_str!("../../../testdata/golden/otelcol-v0.156-probabilistic.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let ids: Vec<[u8; 16]> = golden["trace_ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| u128::from_str_radix(id.as_str().unwrap(), 16).unwrap().to_be_bytes())
            .collect();
        let sets = golden["sets"].as_array().unwrap();
        assert_eq!((sets.len(), ids.len()), (8, 2011));
        for set in sets {
            let salt = set["hash_salt"].as_str().unwrap_or_default();
            let percentage = &set["sampling_percentage"];
            let config = format!(
                "{{type: probabilistic, \
                 probabilistic: {{sampling_percentage: {percentage}, hash_salt: \"{salt}\"}}}}"
            );
            let kept = check_ids(&config, &ids);
            assert_eq!(kept, set["sampled"].as_str().unwrap(), "{}", set["variant"]);
        }
    }
}
