//! Decisions that are remembered, so that late spans follow their trace.
//!
//! Sampled ids are kept whole; of the others, which are many more, only a hash of 64 bits under a
//! secret seed. Both are kept in two generations: when the younger is full the older is dropped at
//! once, and an id that is asked for moves to the younger. So of a cache of `size` ids the last
//! `size / 2` that were noted or asked for are always known.

use std::time::{Duration, Instant};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::evaluate::Verdict;
use super::policy::{Decision, RuleId, Threshold};
use super::trace::TraceId;

/// The decisions that a shard remembers.
#[derive(Debug)]
pub(super) struct DecisionCache {
    seed: u64,
    /// What the times below are counted from.
    epoch: Instant,
    sampled: Generations<TraceId, Sampled>,
    not_sampled: Generations<[u32; 2], u32>,
}

/// What is remembered of a sampled trace.
#[derive(Debug, Clone, Copy)]
struct Sampled {
    threshold: Threshold,
    at: u32,
    by: Option<RuleId>,
}

impl DecisionCache {
    /// Remembers up to so many sampled and other traces; 0 remembers none.
    pub(super) fn new(sampled: usize, not_sampled: usize, seed: u64, epoch: Instant) -> Self {
        let (sampled, not_sampled) =
            (Generations::new(sampled, seed), Generations::new(not_sampled, seed));
        Self { seed, epoch, sampled, not_sampled }
    }

    /// Notes what was decided about a trace.
    pub(super) fn note(&mut self, id: &TraceId, verdict: Verdict, now: Instant) {
        let at = self.seconds(now);
        let Verdict { decision, by, threshold } = verdict;
        match decision {
            Decision::Sampled => self.sampled.insert(*id, Sampled { threshold, at, by }),
            Decision::NotSampled | Decision::Dropped => {
                self.not_sampled.insert(self.fingerprint(id), at);
            }
        }
    }

    /// What was decided about a trace, and how long ago in whole seconds. Of a trace that was not
    /// sampled no more is known.
    pub(super) fn get(&mut self, id: &TraceId, now: Instant) -> Option<(Verdict, Duration)> {
        let fingerprint = self.fingerprint(id);
        let (verdict, at) = match self.sampled.get(*id) {
            Some(Sampled { threshold, at, by }) => {
                (Verdict { decision: Decision::Sampled, by, threshold }, at)
            }
            None => (Verdict::NOT_SAMPLED, self.not_sampled.get(fingerprint)?),
        };
        let age = self.seconds(now).saturating_sub(at);
        Some((verdict, Duration::from_secs(age.into())))
    }

    fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.epoch).as_secs()).unwrap_or(u32::MAX)
    }

    #[allow(clippy::cast_possible_truncation, reason = "the halves are meant")]
    fn fingerprint(&self, id: &TraceId) -> [u32; 2] {
        let hash = xxh3_64_with_seed(id, self.seed);
        [hash as u32, (hash >> 32) as u32]
    }
}

/// What stands for a trace in a cache.
trait Key: Eq + Copy {
    fn hash(&self, seed: u64) -> u64;
}

impl Key for TraceId {
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        xxh3_64_with_seed(self, seed)
    }
}

/// The halves of the hash, so that an entry takes 12 bytes and not 16.
impl Key for [u32; 2] {
    #[inline]
    fn hash(&self, _seed: u64) -> u64 {
        u64::from(self[1]) << 32 | u64::from(self[0])
    }
}

#[derive(Debug)]
struct Generations<K, V> {
    /// Entries of a generation at most.
    room: usize,
    seed: u64,
    younger: HashTable<(K, V)>,
    older: HashTable<(K, V)>,
}

impl<K: Key, V: Copy> Generations<K, V> {
    fn new(size: usize, seed: u64) -> Self {
        let (younger, older) = (HashTable::new(), HashTable::new());
        Self { room: size.div_ceil(2), seed, younger, older }
    }

    fn insert(&mut self, key: K, value: V) {
        if self.room == 0 {
            return;
        }
        if self.younger.len() >= self.room {
            self.older = std::mem::take(&mut self.younger);
        }
        let seed = self.seed;
        self.younger.insert_unique(key.hash(seed), (key, value), |(key, _)| key.hash(seed));
    }

    fn get(&mut self, key: K) -> Option<V> {
        let hash = key.hash(self.seed);
        if let Some((_, value)) = self.younger.find(hash, |(other, _)| *other == key) {
            return Some(*value);
        }
        let ((_, value), _) =
            self.older.find_entry(hash, |(other, _)| *other == key).ok()?.remove();
        self.insert(key, value);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: Verdict = Verdict { decision: Decision::Sampled, ..Verdict::NOT_SAMPLED };

    fn id(number: u8) -> TraceId {
        [number; 16]
    }

    #[test]
    fn a_decision_is_remembered_with_its_age() {
        let start = shared::clock::now();
        let mut cache = DecisionCache::new(10, 10, 1, start);
        cache.note(&id(1), SAMPLED, start + Duration::from_secs(5));
        cache.note(&id(2), Verdict::NOT_SAMPLED, start + Duration::from_secs(7));
        let now = start + Duration::from_secs(9);
        assert_eq!(cache.get(&id(1), now), Some((SAMPLED, Duration::from_secs(4))));
        assert_eq!(cache.get(&id(2), now), Some((Verdict::NOT_SAMPLED, Duration::from_secs(2))));
        assert_eq!(cache.get(&id(3), now), None);
    }

    #[test]
    fn the_oldest_go_and_the_asked_for_stay() {
        let now = shared::clock::now();
        let mut cache = DecisionCache::new(8, 8, 1, now);
        for number in 0..100 {
            cache.note(&id(number), Verdict::NOT_SAMPLED, now);
            assert!(cache.get(&id(0), now).is_some(), "asked for all the time");
            let held = cache.not_sampled.younger.len() + cache.not_sampled.older.len();
            assert!(held <= 8);
        }
        assert_eq!(cache.get(&id(50), now), None);
        assert!(cache.get(&id(99), now).is_some());
    }

    #[test]
    fn a_size_of_zero_remembers_nothing() {
        let now = shared::clock::now();
        let mut cache = DecisionCache::new(0, 0, 1, now);
        cache.note(&id(1), SAMPLED, now);
        cache.note(&id(2), Verdict::NOT_SAMPLED, now);
        assert_eq!((cache.get(&id(1), now), cache.get(&id(2), now)), (None, None));
    }
}
