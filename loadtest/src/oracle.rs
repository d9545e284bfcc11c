//! Which traces the backends must keep, computed a second time and naively.
//!
//! Shares no code with the backend: it looks at drafts, not at bytes, and follows the reference's
//! words as literally as possible.

use std::collections::HashSet;

use crate::generate::draft::{Span, Status, Value};
use crate::generate::vocabulary::SERVICES;
use crate::truth::{TraceTruth, Truth};

/// One way to decide.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    /// Keeps every trace.
    AlwaysSample,
    /// Keeps a trace with a span of this status.
    StatusCode(Status),
    /// Keeps a trace at least this many milliseconds long.
    Latency(u64),
    /// Keeps a trace with this text as an attribute of a span or of a resource.
    StringAttribute(String, Vec<String>),
    /// Keeps about this percentage of traces, by a hash of the salt and the id.
    Probabilistic(f64, String),
    /// Keeps what all of these keep.
    And(Vec<Policy>),
}

/// The salt of the `probabilistic` policy when none is configured.
/// Source: contrib processor/tailsamplingprocessor/internal/sampling/probabilistic.go.
pub const DEFAULT_SALT: &str = "default-hash-seed";

/// What each leaf policy saw on the spans of a trace, in the order of the leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sightings(u32);

impl Sightings {
    /// As a number, to be kept in a file.
    pub(crate) fn to_bits(&self) -> u32 {
        self.0
    }

    /// What [`Sightings::to_bits`] made a number of.
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// A list of policies, of which one suffices.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    policies: Vec<Policy>,
}

impl Policies {
    /// Any of these.
    ///
    /// # Panics
    /// When they have more than 32 leaves.
    pub fn new(policies: Vec<Policy>) -> Self {
        assert!(policies.iter().map(leaves).sum::<u32>() <= 32, "at most 32 policies");
        Self { policies }
    }

    /// The policies of `deploy/config/backend.yaml`.
    pub fn of_sample_config() -> Self {
        Self::new(vec![
            Policy::StatusCode(Status::Error),
            Policy::Latency(1000),
            Policy::And(vec![
                Policy::StringAttribute("service.name".into(), vec!["checkout".into()]),
                Policy::Probabilistic(50.0, "checkout".into()),
            ]),
            Policy::Probabilistic(10.0, DEFAULT_SALT.into()),
        ])
    }

    /// Looks at a span.
    pub(crate) fn observe(&self, span: &Span, sightings: &mut Sightings) {
        let mut leaf = 0;
        for policy in &self.policies {
            observe(policy, span, &mut leaf, sightings);
        }
    }

    /// Whether `trace` is to be kept.
    pub fn keeps(&self, trace: &TraceTruth) -> bool {
        self.keeping(trace).is_some()
    }

    /// The first policy that keeps `trace`.
    pub fn keeping(&self, trace: &TraceTruth) -> Option<&Policy> {
        let mut leaf = 0;
        self.policies.iter().find(|policy| evaluate(policy, trace, &mut leaf))
    }

    /// The ids of all traces that are to be kept.
    pub fn kept(&self, truth: &Truth) -> HashSet<[u8; 16]> {
        truth.traces.iter().filter(|trace| self.keeps(trace)).map(|trace| trace.id).collect()
    }
}

fn leaves(policy: &Policy) -> u32 {
    match policy {
        Policy::And(policies) => policies.iter().map(leaves).sum(),
        _ => 1,
    }
}

fn observe(policy: &Policy, span: &Span, leaf: &mut u32, sightings: &mut Sightings) {
    if let Policy::And(policies) = policy {
        for policy in policies {
            observe(policy, span, leaf, sightings);
        }
        return;
    }
    let seen = match policy {
        Policy::StatusCode(status) => span.status == *status,
        Policy::StringAttribute(key, values) => {
            let is_wanted = |text: &str| values.iter().any(|value| value == text);
            let on_resource =
                key == "service.name" && is_wanted(SERVICES[span.origin.service].name);
            on_resource
                || span.attributes.iter().any(|(name, value)| match value {
                    Value::Text(text) => name == key && is_wanted(text),
                    _ => false,
                })
        }
        _ => false,
    };
    sightings.0 |= u32::from(seen) << *leaf;
    *leaf += 1;
}

fn evaluate(policy: &Policy, trace: &TraceTruth, leaf: &mut u32) -> bool {
    if let Policy::And(policies) = policy {
        let mut all = true;
        for policy in policies {
            all &= evaluate(policy, trace, leaf);
        }
        return all;
    }
    let seen = trace.sightings.0 >> *leaf & 1 == 1;
    *leaf += 1;
    match policy {
        Policy::AlwaysSample => true,
        Policy::Latency(threshold_ms) => {
            (trace.end_ns - trace.start_ns) / 1_000_000 >= *threshold_ms
        }
        Policy::Probabilistic(percentage, salt) => {
            fnv1a(&[salt.as_bytes(), &trace.id].concat()) <= threshold(*percentage)
        }
        Policy::StatusCode(_) | Policy::StringAttribute(..) => seen,
        Policy::And(_) => unreachable!("handled above"),
    }
}

/// FNV-1a with 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// `(2^64 - 1) * percentage / 100`, with a product of 64 bits that is rounded half to even and
/// then cut to an integer. Source: contrib, as above, which computes with Go's `big.Float`.
fn threshold(percentage: f64) -> u64 {
    let ratio = percentage / 100.0;
    if ratio <= 0.0 {
        return 0;
    }
    if ratio >= 1.0 {
        return u64::MAX;
    }
    let bits = ratio.to_bits();
    let mantissa = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
    let exponent = i32::try_from(bits >> 52).expect("eleven bits fit") - 1075;
    let product = u128::from(u64::MAX) * mantissa;
    let excess = (128 - product.leading_zeros()).saturating_sub(64);
    let (mut rounded, lost) = (product >> excess, product & ((1 << excess) - 1));
    let half = 1_u128 << excess >> 1;
    if lost > half || (lost == half && rounded & 1 == 1) {
        rounded += 1;
    }
    let shift = i32::try_from(excess).expect("at most 64") + exponent;
    let shifted = if shift >= 0 {
        rounded << shift
    } else {
        rounded.checked_shr(shift.unsigned_abs()).unwrap_or(0)
    };
    u64::try_from(shifted).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_the_reference() {
        for (percentage, expected) in [
            (0.0001, 18_446_744_073_709),
            (0.1, 18_446_744_073_709_551),
            (1.0, 184_467_440_737_095_519),
            (10.0, 1_844_674_407_370_955_263),
            (33.3333, 6_148_908_542_321_825_791),
            (50.0, 9_223_372_036_854_775_807),
            (99.9, 18_428_297_329_635_844_095),
            (100.0, u64::MAX),
            (150.0, u64::MAX),
            (-50.0, 0),
        ] {
            assert_eq!(threshold(percentage), expected, "{percentage} %");
        }
    }

    #[test]
    fn hashes_are_those_of_the_reference() {
        let id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
        let hash = |salt: &str| fnv1a(&[salt.as_bytes(), &id].concat());
        assert_eq!(hash(DEFAULT_SALT), 0xa545_33ba_2e49_70b5);
        assert_eq!(hash("custom-salt"), 0xfcb7_4add_d5ed_06fd);
    }

    fn trace(length_ms: u64, sightings: u32) -> TraceTruth {
        let end_ns = 5 + length_ms * 1_000_000;
        let sightings = Sightings(sightings);
        TraceTruth { id: [0xff; 16], spans: 1, start_ns: 5, end_ns, fingerprint: 0, sightings }
    }

    #[test]
    fn one_policy_suffices_and_all_of_an_and_are_needed() {
        let policies = Policies::new(vec![
            Policy::And(vec![Policy::Latency(100), Policy::StatusCode(Status::Error)]),
            Policy::StringAttribute("k".into(), vec!["v".into()]),
        ]);
        assert!(!policies.keeps(&trace(500, 0b000)));
        assert!(!policies.keeps(&trace(99, 0b010)));
        assert!(policies.keeps(&trace(100, 0b010)));
        assert!(policies.keeps(&trace(0, 0b100)));
    }
}
