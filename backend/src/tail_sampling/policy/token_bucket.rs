//! A budget that is refilled all the time: what `rate_limiting` and `bytes_limiting` take from, and
//! the rule that both are.
//!
//! Starts full, gains `rate` tokens a second without steps, and holds `burst` of them at most.
//! Who asks for more than there are takes nothing.
//! Source: golang.org/x/time/rate, `Limiter.AllowN`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shared::config::{Path, Problems};

use super::{Ballot, Builder, Case, Marks, Policy, Rule, Vote};
use crate::tail_sampling::tier::TierSize;
use crate::tail_sampling::trace::Summary;

/// The keys that limiters share, besides the one for their rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Tokens a second.
    pub(super) rate: i64,
    /// Tokens held at most; 0 and less is twice the rate.
    pub(super) burst: i64,
}

impl Limit {
    /// Reports everything that is wrong; `rate_key` is how the rate is configured.
    pub(super) fn validate(self, rate_key: &str, at: &Path<'_>, problems: &mut Problems) {
        if self.rate <= 0 {
            problems.report(&at.key(rate_key), "must be above 0, or no trace can pass");
        }
    }

    fn burst(self) -> i64 {
        match self.burst {
            ..=0 => self.rate.saturating_mul(2),
            burst => burst,
        }
    }
}

/// The rule that keeps traces as long as what they cost is within `limit`. As long as its `settings`
/// stay the same, a change of the configuration leaves in the bucket what is there.
pub(super) fn rule(
    settings: &dyn fmt::Debug,
    limit: Limit,
    cluster: bool,
    cost: fn(&Summary) -> u64,
    builder: &mut Builder<'_>,
) -> Box<dyn Rule> {
    let tier = cluster.then(|| builder.terms().tier.clone());
    let bucket = builder.kept(settings, || TokenBucket::new(limit, tier));
    builder.policy(Limiter { bucket, cost })
}

struct Limiter {
    bucket: Arc<TokenBucket>,
    cost: fn(&Summary) -> u64,
}

impl Policy for Limiter {
    fn evaluate(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        Ok(Vote::sampled_if(self.bucket.take((self.cost)(case.summary), case.now)))
    }

    fn peek(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        Ok(Vote::sampled_if(self.bucket.has((self.cost)(case.summary), case.now)))
    }

    fn is_pure(&self) -> bool {
        false
    }
}

/// See the module's head. All shards take from one, under a lock for a few instructions.
#[derive(Debug)]
pub(super) struct TokenBucket {
    limit: Limit,
    /// Who shares the limit, if anybody does.
    tier: Option<TierSize>,
    level: Mutex<Option<Level>>,
}

/// How full it was when it was last taken from.
#[derive(Debug, Clone, Copy)]
struct Level {
    at: Instant,
    tokens: f64,
}

impl TokenBucket {
    /// A full one. With a tier each of its backends has an equal part.
    pub(super) fn new(limit: Limit, tier: Option<TierSize>) -> Self {
        Self { limit, tier, level: Mutex::new(None) }
    }

    /// Takes so many tokens, if there are as many.
    pub(super) fn take(&self, tokens: u64, now: Instant) -> bool {
        let mut level = self.lock();
        let after = self.after(*level, tokens, now);
        if after.is_some() {
            *level = after;
        }
        after.is_some()
    }

    /// Whether [`TokenBucket::take`] would succeed.
    pub(super) fn has(&self, tokens: u64, now: Instant) -> bool {
        self.after(*self.lock(), tokens, now).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Level>> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How full it is when so many tokens have been taken; nothing if there are too few.
    #[allow(clippy::cast_precision_loss, reason = "a double counts tokens in Go, too")]
    fn after(&self, level: Option<Level>, tokens: u64, now: Instant) -> Option<Level> {
        let backends = self.tier.as_ref().map_or(1, TierSize::get) as f64;
        let (rate, burst) =
            (self.limit.rate as f64 / backends, self.limit.burst() as f64 / backends);
        let (at, held) = match level {
            None => (now, burst),
            Some(level) => {
                // Shards read the clock one after the other, so this may be the past.
                let passed = now.saturating_duration_since(level.at).as_secs_f64();
                (now.max(level.at), (level.tokens + passed * rate).min(burst))
            }
        };
        let tokens = tokens as f64;
        let left = held - tokens;
        // What is there within a nanosecond is there.
        (tokens <= burst && -left / rate * 1e9 < 1.0).then_some(Level { at, tokens: left })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn bucket(rate: i64, burst: i64) -> TokenBucket {
        TokenBucket::new(Limit { rate, burst }, None)
    }

    #[test]
    fn it_starts_full_and_refills_without_steps() {
        let (bucket, start) = (bucket(10, 0), shared::clock::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(bucket.take(20, at(0)));
        assert!(!bucket.take(1, at(99)));
        assert!(bucket.take(1, at(100)));
        assert!(!bucket.take(1, at(100)));
        // Never more than the burst, however long it was left alone.
        assert!(!bucket.take(21, at(3_600_000)));
        assert!(bucket.take(20, at(3_600_000)));
    }

    #[test]
    fn who_asks_for_too_much_takes_nothing() {
        let (bucket, now) = (bucket(10, 15), shared::clock::now());
        assert!(bucket.take(10, now));
        assert!(!bucket.take(6, now));
        assert!(bucket.has(5, now) && bucket.has(5, now));
        assert!(bucket.take(5, now) && !bucket.has(1, now));
    }

    #[test]
    fn a_clock_that_stands_behind_takes_of_what_is_there() {
        let (bucket, start) = (bucket(10, 10), shared::clock::now());
        let later = start + Duration::from_secs(5);
        assert!(bucket.take(10, later));
        assert!(!bucket.take(1, start));
        assert!(bucket.take(5, later + Duration::from_millis(500)));
    }

    #[test]
    fn a_tier_shares_it() {
        let (tier, start) = (TierSize::new(4), shared::clock::now());
        let bucket = TokenBucket::new(Limit { rate: 40, burst: 0 }, Some(tier.clone()));
        assert!(!bucket.has(21, start));
        assert!(bucket.take(20, start));
        let later = start + Duration::from_secs(1);
        assert!(bucket.has(10, later) && !bucket.has(11, later));
        tier.set(2);
        assert!(bucket.has(20, later) && !bucket.has(21, later));
    }

    proptest! {
        /// Whatever is asked for and when: never more than the burst and the rate allow.
        #[test]
        fn no_span_of_time_has_more_than_its_tokens(
            rate in 1..50_i32,
            burst in 1..100_i32,
            asks in proptest::collection::vec((0..400_u32, 1..40_u32), 1..80),
        ) {
            let (bucket, start) = (bucket(rate.into(), burst.into()), shared::clock::now());
            let (mut millis, mut taken) = (0, Vec::new());
            for (wait, tokens) in asks {
                millis += wait;
                let now = start + Duration::from_millis(millis.into());
                if bucket.take(tokens.into(), now) {
                    taken.push((millis, tokens));
                }
            }
            for (first, (begin, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (end, tokens) in &taken[first..] {
                    sum += tokens;
                    let refilled = f64::from(end - begin) / 1000.0 * f64::from(rate);
                    let allowed = f64::from(burst) + refilled + 1e-6;
                    prop_assert!(f64::from(sum) <= allowed, "{sum} in {begin}..{end} ms");
                }
            }
        }
    }
}
