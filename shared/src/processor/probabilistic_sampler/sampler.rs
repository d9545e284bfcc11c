//! Whether an item is kept: the arithmetic, told what is known of the item.
//!
//! Randomness and thresholds are parts of 2^56: an item is kept whose randomness is not below the
//! threshold, which is the share that is rejected. Numbers agree bit for bit with the Collector's,
//! so that tiers of both kinds keep the same traces.
//!
//! Source: contrib `probabilisticsamplerprocessor/sampler_mode.go`, `pkg/sampling/probability.go`.

use crate::config_enum;

config_enum! {
    /// What randomness is held against which threshold.
    pub enum Mode {
        /// A hash of 14 bits against a fixed share.
        HashSeed = "hash_seed",
        /// The trace's 56 bits against a share of what earlier samplers left.
        Proportional = "proportional",
        /// The trace's 56 bits against a share that counts what earlier samplers rejected.
        Equalizing = "equalizing",
    }
}

/// Nothing is kept.
const NEVER: u64 = 1 << 56;
/// Everything is.
const ALWAYS: u64 = 0;
/// Is kept by every threshold but [`NEVER`].
const HIGHEST: u64 = NEVER - 1;
/// The least share that can be told from none.
pub(super) const MIN_SHARE: f64 = 1.0 / 72_057_594_037_927_936.0; // 2^56
/// Hexadecimal digits of a threshold.
pub(super) const MAX_PRECISION: u32 = 14;
const HASH_BUCKETS: u32 = 1 << 14;

/// What an item says of sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Carried {
    pub(super) randomness: Option<u64>,
    pub(super) threshold: Option<u64>,
}

/// What an item is told by from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'i> {
    /// `None` when what it says cannot be read.
    pub(super) carried: Option<Carried>,
    /// `None` if it has none, or zeros.
    pub(super) trace_id: Option<&'i [u8; 16]>,
    /// What is hashed in place of a trace id.
    pub(super) attribute: Option<&'i [u8]>,
    /// Whether one without randomness notes that it got the highest, as spans do and log records
    /// do not.
    pub(super) notes_missing: bool,
}

/// How a decision came about: the label `policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    MissingRandomness,
    TraceIdHash,
    TraceIdW3c,
    SamplingRandomness,
    SamplingPriority,
    /// A hash of the attribute that is configured, after which it is named.
    Attribute,
}

impl Policy {
    pub(super) const COUNT: usize = 6;

    /// Its name, where an attribute is hashed that has this name.
    pub(super) fn name(self, attribute: &str) -> &str {
        match self {
            Policy::MissingRandomness => "missing_randomness",
            Policy::TraceIdHash => "trace_id_hash",
            Policy::TraceIdW3c => "trace_id_w3c",
            Policy::SamplingRandomness => "sampling_randomness",
            Policy::SamplingPriority => "sampling_priority",
            Policy::Attribute => attribute,
        }
    }
}

/// Why an item cannot be judged by its randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// What it says of sampling cannot be read.
    Unreadable,
    /// It has none.
    MissingRandomness,
    /// It names its randomness, which a hash would contradict.
    RandomnessInUse,
    /// It names a threshold, which a hash would contradict.
    ThresholdInUse,
    /// It should not have passed the threshold it names.
    InconsistentThreshold,
}

/// What an item asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Priority {
    None,
    Never,
    Always,
    /// To be kept with this probability.
    Share(f64),
}

/// What becomes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_sampled: bool,
    pub(super) policy: Policy,
    pub(super) trouble: Option<Trouble>,
    /// What a kept item says from now on; what is `None` in it stays.
    pub(super) inscription: Option<Carried>,
}

/// One mode with its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Method {
    Never,
    Hash { threshold: u64, seed: u32 },
    Equalize { threshold: u64 },
    Proportion { share: f64 },
}

impl Method {
    /// Of a percentage from 0 on. In 32 bits as the Collector computes, which decides on which side
    /// of a threshold some items are.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a percentage of at most 100, rounded down"
    )]
    pub(super) fn new(mode: Mode, percentage: f32, seed: u32, precision: u32) -> Self {
        let percentage = percentage.min(100.0);
        if percentage == 0.0 {
            return Method::Never;
        }
        let share = (f64::from(percentage) / 100.0).max(MIN_SHARE);
        match mode {
            Mode::Equalizing => {
                let threshold = threshold_keeping(share, precision).unwrap_or(ALWAYS);
                Method::Equalize { threshold }
            }
            Mode::Proportional => Method::Proportion { share },
            Mode::HashSeed => match (percentage * 163.84) as u32 {
                0 => Method::Never,
                kept => Method::Hash { threshold: u64::from(HASH_BUCKETS - kept) << 42, seed },
            },
        }
    }
}

/// Judges items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampler {
    pub(super) method: Method,
    pub(super) precision: u32,
    /// Whether an item in trouble is rejected.
    pub(super) fail_closed: bool,
}

/// What is held against the threshold.
struct Drawn {
    randomness: u64,
    policy: Policy,
    /// What the item says, if it may be written on.
    carrier: Option<Carried>,
    /// What it is to say of its randomness.
    noted: Option<u64>,
    trouble: Option<Trouble>,
}

impl Sampler {
    pub(super) fn judge(&self, item: &Item<'_>, priority: Priority) -> Verdict {
        let mut drawn = self.draw(item);
        if drawn.trouble.is_none() {
            drawn.trouble = drawn.contradiction();
        }
        if drawn.trouble == Some(Trouble::InconsistentThreshold)
            && let Some(carrier) = &mut drawn.carrier
        {
            carrier.threshold = None;
        }
        let mut threshold = match (drawn.trouble, self.fail_closed) {
            (None, _) => self.threshold(drawn.carrier.and_then(|carrier| carrier.threshold)),
            (Some(_), true) => NEVER,
            (Some(_), false) => ALWAYS,
        };
        let asked = match priority {
            Priority::None => None,
            Priority::Never => Some(NEVER),
            Priority::Always => Some(ALWAYS),
            Priority::Share(share) => threshold_keeping(share, self.precision),
        };
        if let Some(asked) = asked {
            (threshold, drawn.policy) = (asked, Policy::SamplingPriority);
        }
        let is_sampled = threshold <= drawn.randomness;
        let inscription = drawn.carrier.filter(|_| is_sampled).map(|carrier| {
            // A threshold is never lowered: that would let the item stand for fewer.
            let is_lower = carrier.threshold.is_some_and(|known| known > threshold);
            Carried {
                randomness: drawn.noted,
                threshold: if is_lower { None } else { Some(threshold) },
            }
        });
        Verdict { is_sampled, policy: drawn.policy, trouble: drawn.trouble, inscription }
    }

    fn draw(&self, item: &Item<'_>) -> Drawn {
        let unreadable = item.carried.is_none().then_some(Trouble::Unreadable);
        match self.method {
            Method::Never => Drawn {
                randomness: HIGHEST,
                policy: Policy::SamplingPriority,
                carrier: item.carried,
                noted: None,
                trouble: unreadable,
            },
            Method::Hash { seed, .. } => draw_hash(item, seed),
            Method::Equalize { .. } | Method::Proportion { .. } => {
                let explicit = item.carried.and_then(|carried| carried.randomness);
                let (randomness, policy) = match (explicit, item.trace_id) {
                    (Some(randomness), _) => (randomness, Policy::SamplingRandomness),
                    (None, Some(trace_id)) if unreadable.is_none() => {
                        (crate::wire::trace_state::randomness_of(trace_id), Policy::TraceIdW3c)
                    }
                    _ => (HIGHEST, Policy::MissingRandomness),
                };
                Drawn {
                    randomness,
                    policy,
                    carrier: item.carried,
                    noted: None,
                    trouble: unreadable,
                }
            }
        }
    }

    fn threshold(&self, known: Option<u64>) -> u64 {
        match self.method {
            Method::Never => NEVER,
            Method::Hash { threshold, .. } => threshold,
            Method::Equalize { threshold } => known.map_or(threshold, |known| known.max(threshold)),
            Method::Proportion { share } => {
                let left = known.map_or(1.0, left_by);
                threshold_keeping(left * share, self.precision).unwrap_or(NEVER)
            }
        }
    }
}

impl Drawn {
    fn contradiction(&self) -> Option<Trouble> {
        if self.policy == Policy::MissingRandomness {
            return Some(Trouble::MissingRandomness);
        }
        let threshold = self.carrier?.threshold?;
        (threshold > self.randomness).then_some(Trouble::InconsistentThreshold)
    }
}

fn draw_hash(item: &Item<'_>, seed: u32) -> Drawn {
    let (randomness, policy) = match (item.trace_id, item.attribute) {
        (Some(trace_id), _) => (hash(trace_id, seed), Policy::TraceIdHash),
        (None, Some(attribute)) => (hash(attribute, seed), Policy::Attribute),
        (None, None) => (HIGHEST, Policy::MissingRandomness),
    };
    let (carrier, trouble) = match item.carried {
        None => (None, Some(Trouble::Unreadable)),
        Some(Carried { randomness: Some(_), .. }) => (None, Some(Trouble::RandomnessInUse)),
        Some(Carried { threshold: Some(_), .. }) => (None, Some(Trouble::ThresholdInUse)),
        Some(carried) => (Some(carried), None),
    };
    let is_noted = item.notes_missing || policy != Policy::MissingRandomness;
    Drawn { randomness, policy, carrier, noted: is_noted.then_some(randomness), trouble }
}

/// Randomness whose highest 14 bits decide as the hash did before there were thresholds; what is
/// below them makes it look random to others.
fn hash(bytes: &[u8], seed: u32) -> u64 {
    let fnv = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = seed.to_le_bytes().iter().chain(bytes).fold(0x811c_9dc5, fnv);
    let bucket = u64::from(hash & (HASH_BUCKETS - 1));
    let unused = u64::from(hash >> (32 - 14));
    let mixed = unused ^ unused << 10;
    (u64::from(HASH_BUCKETS) - 1 - bucket) << 42 | mixed << 14 | bucket
}

/// The share that a threshold keeps.
#[allow(clippy::cast_precision_loss, reason = "as the Collector computes")]
fn left_by(threshold: u64) -> f64 {
    (NEVER - threshold) as f64 / NEVER as f64
}

/// The threshold that keeps a share, in this many hexadecimal digits and as many more as there are
/// leading ones that say nothing. `None` for what is no share.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as the Collector computes; the share is between 0 and 1"
)]
fn threshold_keeping(share: f64, precision: u32) -> Option<u64> {
    if !(MIN_SHARE..=1.0).contains(&share) {
        return None;
    }
    if share >= 1.0 {
        return Some(ALWAYS);
    }
    let leading = leading_digits(share).max(leading_digits(1.0 - share));
    let precision = (precision + leading).min(MAX_PRECISION);
    let threshold = NEVER - (share * NEVER as f64).round() as u64;
    Some(match 4 * (MAX_PRECISION - precision) {
        0 => threshold,
        shift => (threshold + (1 << (shift - 1))) >> shift << shift,
    })
}

/// The leading zeros of a number from 0 to 1, in hexadecimal.
fn leading_digits(number: f64) -> u32 {
    let exponent = u32::try_from(number.to_bits() >> 52 & 0x7ff).expect("11 bits fit");
    // A half has the exponent 1022.
    1022_u32.saturating_sub(exponent) / 4
}

#[cfg(test)]
mod tests;
