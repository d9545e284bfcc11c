//! Rates by key from exponential moving averages.
//!
//! Spans are counted by key. At the end of each interval the counts go into the averages, and the
//! goal is shared out among the keys by the logarithm of their averages: a key a thousand times as
//! frequent as another gets a few times its part, so rare keys are kept and frequent ones pay. A
//! burst ends the interval early. An interval without any span changes nothing, so an outage does
//! not make the averages forget.
//!
//! Source: honeycombio/dynsampler-go emasamplerate.go, emathroughput.go. Other than there, rates
//! are not rounded up to whole numbers, parts do not depend on the keys' names, the first averages
//! are corrected for having begun at 0, and keys over the bound are counted together, as one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::allocation::{Claim, level};
use super::{Figures, Key, Rated, Rates};

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::tail_sampling::policy) enum Goal {
    /// One span of so many is kept.
    Rate(f64),
    /// So many spans are kept in a second, by the whole tier.
    Throughput(f64),
}

/// Settings of [`Ema`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::tail_sampling::policy) struct EmaSettings {
    /// What is to be reached.
    pub(in crate::tail_sampling::policy) goal: Goal,
    /// The rate of every key until the first interval is over.
    pub(in crate::tail_sampling::policy) initial_rate: f64,
    /// The length of an interval.
    pub(in crate::tail_sampling::policy) interval: Duration,
    /// The share of the newest interval in an average.
    pub(in crate::tail_sampling::policy) weight: f64,
    /// A key is forgotten when its average falls below.
    pub(in crate::tail_sampling::policy) age_out: f64,
    /// An interval ends when it has seen this many times the spans of an average one; never if
    /// that is not above 0.
    pub(in crate::tail_sampling::policy) burst_multiple: f64,
    /// Intervals before that begins.
    pub(in crate::tail_sampling::policy) burst_delay: u64,
    /// Keys that are told apart.
    pub(in crate::tail_sampling::policy) max_keys: usize,
}

/// See the module's head.
#[derive(Debug)]
pub(in crate::tail_sampling::policy) struct Ema {
    settings: EmaSettings,
    keys: HashMap<Key, Average>,
    /// When the interval ends, once it has begun.
    interval_ends: Option<Instant>,
    /// Intervals that ended by time.
    intervals: u64,
    /// How often counts went into the averages.
    adjustments: u32,
    /// Spans of the interval.
    counted: f64,
    /// Spans that end the interval early.
    burst_at: f64,
    /// The rate over all keys.
    overall_rate: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Average {
    /// Spans of the interval.
    count: f64,
    /// Spans of an average interval.
    average: f64,
    /// The rate until the next adjustment.
    rate: f64,
}

impl Ema {
    /// Nothing counted yet.
    pub(in crate::tail_sampling::policy) fn new(settings: EmaSettings) -> Self {
        Self {
            settings,
            keys: HashMap::new(),
            interval_ends: None,
            intervals: 0,
            adjustments: 0,
            counted: 0.0,
            burst_at: f64::INFINITY,
            overall_rate: settings.initial_rate,
        }
    }

    /// Whether an interval has ended since the last call; then the next one has begun.
    fn interval_is_over(&mut self, now: Instant) -> bool {
        let interval = self.settings.interval;
        let ends = *self.interval_ends.get_or_insert(now + interval);
        let Some(late) = now.checked_duration_since(ends) else { return false };
        // Those that passed since without any span changed nothing.
        let passed = late.as_nanos() / interval.as_nanos() + 1;
        self.intervals += u64::try_from(passed).unwrap_or(u64::MAX);
        let into = late.as_nanos() % interval.as_nanos();
        let into = Duration::from_nanos(u64::try_from(into).unwrap_or(0));
        self.interval_ends = Some(now + interval.saturating_sub(into));
        true
    }

    fn is_burst(&self) -> bool {
        self.counted >= self.burst_at && self.intervals >= self.settings.burst_delay
    }

    /// Takes the counts into the averages and shares the goal out.
    fn adjust(&mut self, tier_share: f64) {
        if self.counted <= 0.0 {
            return;
        }
        let EmaSettings { weight, age_out, .. } = self.settings;
        self.adjustments = self.adjustments.saturating_add(1);
        self.keys.retain(|_, key| {
            key.average = weight * key.count + (1.0 - weight) * key.average;
            key.count = 0.0;
            key.average >= age_out
        });
        self.counted = 0.0;
        // The averages began at 0, and would be too low by so much for the first few intervals.
        let unseen = (1.0 - weight).powi(i32::try_from(self.adjustments).unwrap_or(i32::MAX));
        let claim = |key: &Average| {
            let count = (key.average / (1.0 - unseen)).max(1.0);
            Claim { count, weight: count.log10(), floor: 1.0 }
        };
        let claims: Vec<Claim> = self.keys.values().map(claim).collect();
        let spans: f64 = claims.iter().map(|claim| claim.count).sum();
        let goal = match self.settings.goal {
            Goal::Rate(rate) => spans / rate,
            Goal::Throughput(per_second) => {
                per_second * tier_share * self.settings.interval.as_secs_f64()
            }
        };
        let level = level(&claims, goal);
        for (key, claim) in self.keys.values_mut().zip(&claims) {
            key.rate = claim.rate(level);
        }
        let kept: f64 = claims.iter().map(|claim| claim.part(level)).sum();
        self.overall_rate = if kept > 0.0 { spans / kept } else { 1.0 };
        self.burst_at = match self.settings.burst_multiple > 0.0 && spans > 0.0 {
            true => spans * self.settings.burst_multiple,
            false => f64::INFINITY,
        };
    }

    /// The rate of a key that has none of its own yet.
    fn rate_of_new(&self, key: Key) -> f64 {
        match key {
            // Rare things are what one wants to see.
            Some(_) if self.adjustments > 0 => 1.0,
            _ => self.overall_rate,
        }
    }
}

impl Rates for Ema {
    fn count(&mut self, key: u64, spans: u32, tier_share: f64, now: Instant) -> Rated {
        let mut adjusted = self.interval_is_over(now);
        if adjusted {
            self.adjust(tier_share);
        }
        let key = self.place(key);
        let rate = self.rate_of_new(key);
        let average = self.keys.entry(key).or_insert(Average { rate, ..Average::default() });
        average.count += f64::from(spans);
        self.counted += f64::from(spans);
        if self.is_burst() {
            self.adjust(tier_share);
            self.interval_ends = Some(now + self.settings.interval);
            adjusted = true;
        }
        Rated { rate: self.rate(key), over: key.is_none(), adjusted }
    }

    fn peek(&self, key: u64) -> f64 {
        self.rate(self.place(key))
    }

    fn figures(&self) -> Figures {
        let keys = self.keys.len() - usize::from(self.keys.contains_key(&None));
        Figures { keys, overall_rate: self.overall_rate }
    }
}

impl Ema {
    /// The key itself, or that of all over the bound.
    fn place(&self, key: u64) -> Key {
        let full = || self.figures().keys >= self.settings.max_keys;
        (self.keys.contains_key(&Some(key)) || !full()).then_some(key)
    }

    fn rate(&self, key: Key) -> f64 {
        self.keys.get(&key).map_or_else(|| self.rate_of_new(key), |average| average.rate)
    }
}

#[cfg(test)]
mod tests;
