//! Rates by key from a window that moves.
//!
//! Time is cut into short slots, and spans are counted by slot and key. At the end of each slot the
//! goal for the slots of the window is shared out evenly among its keys.
//!
//! Source: honeycombio/dynsampler-go windowedthroughput.go, blocklist.go. Other than there, what a
//! key does not need of its part goes to the others, a window that is not full yet counts for what
//! it covers, rates are not cut to whole numbers, and keys over the bound are counted together, as
//! one.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::allocation::{Claim, level};
use super::{Figures, Key, Rated, Rates};

/// Settings of [`Window`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::tail_sampling::policy) struct WindowSettings {
    /// Spans to be kept in a second, by the whole tier.
    pub(in crate::tail_sampling::policy) throughput: f64,
    /// The rate of every key as long as the window has seen nothing.
    pub(in crate::tail_sampling::policy) initial_rate: f64,
    /// The length of a slot.
    pub(in crate::tail_sampling::policy) slot: Duration,
    /// Slots of the window.
    pub(in crate::tail_sampling::policy) slots: u64,
    /// Keys that are told apart.
    pub(in crate::tail_sampling::policy) max_keys: usize,
}

/// See the module's head.
#[derive(Debug)]
pub(in crate::tail_sampling::policy) struct Window {
    settings: WindowSettings,
    /// When the first slot began.
    epoch: Option<Instant>,
    /// The slots with spans, the newest last.
    slots: VecDeque<Slot>,
    /// What they add up to.
    keys: HashMap<Key, Total>,
    /// Whether the rates come from anything.
    informed: bool,
    /// The rate over all keys.
    overall_rate: f64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Slots since the epoch.
    number: u64,
    spans: HashMap<Key, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Total {
    spans: u64,
    /// Nothing for a key that was first seen in the newest slot.
    rate: Option<f64>,
}

impl Window {
    /// Nothing counted yet.
    pub(in crate::tail_sampling::policy) fn new(settings: WindowSettings) -> Self {
        let overall_rate = settings.initial_rate;
        let (slots, keys) = (VecDeque::new(), HashMap::new());
        Self { settings, epoch: None, slots, keys, informed: false, overall_rate }
    }

    /// The number of the slot at `now`.
    fn slot_at(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        let passed = now.saturating_duration_since(epoch).as_nanos();
        u64::try_from(passed / self.settings.slot.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Begins a slot: lets those go that are out of the window before it, and shares the goal out.
    #[allow(clippy::cast_precision_loss, reason = "spans and slots are far below 2^53")]
    fn begin_slot(&mut self, number: u64, tier_share: f64) {
        while let Some(slot) = self.slots.front()
            && slot.number + self.settings.slots < number
        {
            for (key, spans) in &slot.spans {
                if let Some(total) = self.keys.get_mut(key) {
                    total.spans -= spans;
                }
            }
            self.slots.pop_front();
        }
        self.keys.retain(|_, total| total.spans > 0);
        self.slots.push_back(Slot { number, spans: HashMap::new() });
        let claim = |total: &Total| Claim { count: total.spans as f64, weight: 1.0, floor: 0.0 };
        let claims: Vec<Claim> = self.keys.values().map(claim).collect();
        let covered = self.settings.slot.as_secs_f64() * number.min(self.settings.slots) as f64;
        let level = level(&claims, self.settings.throughput * tier_share * covered);
        for (total, claim) in self.keys.values_mut().zip(&claims) {
            total.rate = Some(claim.rate(level));
        }
        self.informed = !claims.is_empty();
        let spans: f64 = claims.iter().map(|claim| claim.count).sum();
        let kept: f64 = claims.iter().map(|claim| claim.part(level)).sum();
        self.overall_rate = if kept > 0.0 { spans / kept } else { self.settings.initial_rate };
    }

    /// The rate of a key that has none of its own yet.
    fn rate_of_new(&self, key: Key) -> f64 {
        match key {
            // Rare things are what one wants to see.
            Some(_) if self.informed => 1.0,
            _ => self.overall_rate,
        }
    }

    /// The key itself, or that of all over the bound.
    fn place(&self, key: u64) -> Key {
        let full = || self.figures().keys >= self.settings.max_keys;
        (self.keys.contains_key(&Some(key)) || !full()).then_some(key)
    }

    fn rate(&self, key: Key) -> f64 {
        let known = self.keys.get(&key).and_then(|total| total.rate);
        known.unwrap_or_else(|| self.rate_of_new(key))
    }
}

impl Rates for Window {
    fn count(&mut self, key: u64, spans: u32, tier_share: f64, now: Instant) -> Rated {
        let number = self.slot_at(now);
        let adjusted = self.slots.back().is_none_or(|slot| slot.number < number);
        if adjusted {
            self.begin_slot(number, tier_share);
        }
        let key = self.place(key);
        let spans = u64::from(spans);
        if let Some(slot) = self.slots.back_mut() {
            *slot.spans.entry(key).or_default() += spans;
            self.keys.entry(key).or_default().spans += spans;
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

#[cfg(test)]
mod tests;
