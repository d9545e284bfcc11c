//! Decisions that are remembered, so that late spans follow their trace.
//!
//! Sampled traces are remembered exactly, with the policy and the threshold. They are kept in two
//! generations: when the younger is full the older is dropped at once, and an id that is asked for
//! moves to the younger. So of a cache of `size` ids the last `size / 2` that were noted or asked
//! for are always known. Of the others, which are many more, there are [fingerprints](Fingerprints)
//! under a secret seed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hashbrown::HashTable;

use super::evaluate::Verdict;
use super::fingerprints::{self, Entry, Fingerprints};
use super::policy::{Decision, RuleId, Threshold};
use super::trace::{Key, TraceId};

/// The decisions that a shard remembers.
#[derive(Debug)]
pub(super) struct DecisionCache {
    /// What the times below are counted from.
    epoch: Instant,
    sampled: Generations,
    not_sampled: Fingerprints,
}

/// What is remembered of a sampled trace.
#[derive(Debug, Clone, Copy)]
struct Sampled {
    threshold: Threshold,
    at: u32,
    by: Option<RuleId>,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    /// Traces.
    pub(super) entries: usize,
    /// Traces that can be.
    pub(super) capacity: usize,
    /// Bytes of memory.
    pub(super) bytes: usize,
}

impl DecisionCache {
    /// Remembers up to so many sampled and other traces; 0 remembers none. All keys that it is given
    /// must be of this seed.
    pub(super) fn new(sampled: usize, not_sampled: usize, seed: u64, epoch: Instant) -> Self {
        let sampled = Generations::new(sampled, seed);
        Self { epoch, sampled, not_sampled: Fingerprints::new(not_sampled) }
    }

    /// Asks memory for what is known of traces that are looked up or noted next. None of these looks
    /// depends on another, so they are waited for together.
    pub(super) fn look_ahead(&self, keys: impl Iterator<Item = Key>) {
        let looked = keys.map(|key| self.not_sampled.glance(key.hash));
        black_box(looked.fold(0, u64::wrapping_add));
    }

    /// Notes what was decided about a trace.
    pub(super) fn note(&mut self, key: Key, verdict: Verdict, now: Instant) {
        let at = self.seconds(now);
        let Verdict { decision, by, threshold } = verdict;
        match decision {
            Decision::Sampled => self.sampled.insert(key, Sampled { threshold, at, by }),
            Decision::NotSampled => self.not_sampled.insert(key.hash, Entry { by: None, at }),
            Decision::Dropped => self.not_sampled.insert(key.hash, Entry { by, at }),
        }
    }

    /// What was decided about a trace, and how long ago in whole seconds. Of traces that were not
    /// sampled, now and then [another one](Fingerprints) is taken for it.
    pub(super) fn find(&self, key: Key, now: Instant) -> Option<(Verdict, Duration)> {
        match self.sampled.get(key) {
            Some(sampled) => Some(self.recall_sampled(sampled, now)),
            None => Some(self.recall_other(self.not_sampled.get(key.hash)?, now)),
        }
    }

    /// The same; the trace was asked for, so it is forgotten later than others.
    pub(super) fn get(&mut self, key: Key, now: Instant) -> Option<(Verdict, Duration)> {
        match self.sampled.touch(key) {
            Some(sampled) => Some(self.recall_sampled(sampled, now)),
            None => {
                let entry = self.not_sampled.touch(key.hash)?;
                Some(self.recall_other(entry, now))
            }
        }
    }

    /// How much is remembered of sampled and of other traces.
    pub(super) fn remembered(&self) -> [Remembered; 2] {
        let others = &self.not_sampled;
        let [entries, capacity, bytes] = [others.len(), others.capacity(), others.allocated()];
        [self.sampled.remembered(), Remembered { entries, capacity, bytes }]
    }

    fn recall_sampled(&self, sampled: Sampled, now: Instant) -> (Verdict, Duration) {
        let Sampled { threshold, at, by } = sampled;
        let age = self.seconds(now).saturating_sub(at);
        (Verdict { decision: Decision::Sampled, by, threshold }, Duration::from_secs(age.into()))
    }

    fn recall_other(&self, Entry { by, at }: Entry, now: Instant) -> (Verdict, Duration) {
        let decision = match by {
            Some(_) => Decision::Dropped,
            None => Decision::NotSampled,
        };
        let age = fingerprints::age(self.seconds(now), at);
        (Verdict { decision, by, ..Verdict::NOT_SAMPLED }, Duration::from_secs(age.into()))
    }

    fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.epoch).as_secs()).unwrap_or(u32::MAX)
    }
}

/// Sampled traces, the younger and the older half.
#[derive(Debug)]
struct Generations {
    /// Entries of a generation at most.
    room: usize,
    seed: u64,
    younger: HashTable<(TraceId, Sampled)>,
    older: HashTable<(TraceId, Sampled)>,
}

impl Generations {
    fn new(size: usize, seed: u64) -> Self {
        let (younger, older) = (HashTable::new(), HashTable::new());
        Self { room: size.div_ceil(2), seed, younger, older }
    }

    fn insert(&mut self, Key { id, hash }: Key, sampled: Sampled) {
        if self.room == 0 {
            return;
        }
        if self.younger.len() >= self.room {
            self.older = std::mem::take(&mut self.younger);
        }
        let seed = self.seed;
        self.younger.insert_unique(hash, (id, sampled), |(id, _)| Key::new(*id, seed).hash);
    }

    fn get(&self, Key { id, hash }: Key) -> Option<Sampled> {
        let find = |table: &HashTable<(TraceId, Sampled)>| {
            table.find(hash, |(other, _)| *other == id).map(|(_, sampled)| *sampled)
        };
        find(&self.younger).or_else(|| find(&self.older))
    }

    /// As [`Generations::get`], and moves it to the younger generation.
    fn touch(&mut self, key: Key) -> Option<Sampled> {
        let Key { id, hash } = key;
        if let Some((_, sampled)) = self.younger.find(hash, |(other, _)| *other == id) {
            return Some(*sampled);
        }
        let ((_, sampled), _) =
            self.older.find_entry(hash, |(other, _)| *other == id).ok()?.remove();
        self.insert(key, sampled);
        Some(sampled)
    }

    fn remembered(&self) -> Remembered {
        Remembered {
            entries: self.younger.len() + self.older.len(),
            capacity: 2 * self.room,
            bytes: self.younger.allocation_size() + self.older.allocation_size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: Verdict = Verdict { decision: Decision::Sampled, ..Verdict::NOT_SAMPLED };

    const SEED: u64 = 1;

    fn key(number: u8) -> Key {
        Key::new([number; 16], SEED)
    }

    #[test]
    fn a_decision_is_remembered_with_its_age_and_its_policy() {
        let start = shared::clock::now();
        let mut cache = DecisionCache::new(10, 10, SEED, start);
        let by = Some(RuleId::at(3));
        let sampled = Verdict { by, threshold: Threshold::keeping(0.25), ..SAMPLED };
        let dropped = Verdict { decision: Decision::Dropped, by, ..Verdict::NOT_SAMPLED };
        cache.note(key(1), sampled, start + Duration::from_secs(5));
        cache.note(key(2), Verdict::NOT_SAMPLED, start + Duration::from_secs(7));
        cache.note(key(3), dropped, start + Duration::from_secs(8));
        let now = start + Duration::from_secs(9);
        for (number, expected) in
            [(1, (sampled, 4)), (2, (Verdict::NOT_SAMPLED, 2)), (3, (dropped, 1))]
        {
            let expected = Some((expected.0, Duration::from_secs(expected.1)));
            assert_eq!(cache.find(key(number), now), expected);
            assert_eq!(cache.get(key(number), now), expected);
        }
        assert_eq!((cache.find(key(4), now), cache.get(key(4), now)), (None, None));
        let [sampled, others] = cache.remembered();
        assert_eq!((sampled.entries, sampled.capacity), (1, 10));
        assert_eq!((others.entries, others.capacity, others.bytes), (2, 16, 128));
    }

    #[test]
    fn the_oldest_go_and_the_asked_for_stay() {
        let now = shared::clock::now();
        let mut cache = DecisionCache::new(8, 8, SEED, now);
        for number in 0..100 {
            cache.note(key(number), SAMPLED, now);
            assert!(cache.get(key(0), now).is_some(), "asked for all the time");
            assert!(cache.remembered()[0].entries <= 8);
        }
        assert_eq!(cache.get(key(50), now), None);
        assert!(cache.get(key(99), now).is_some());
    }

    #[test]
    fn a_size_of_zero_remembers_nothing() {
        let now = shared::clock::now();
        let mut cache = DecisionCache::new(0, 0, SEED, now);
        cache.note(key(1), SAMPLED, now);
        cache.note(key(2), Verdict::NOT_SAMPLED, now);
        assert_eq!((cache.get(key(1), now), cache.get(key(2), now)), (None, None));
        assert_eq!(cache.remembered(), [Remembered::default(); 2]);
    }
}
