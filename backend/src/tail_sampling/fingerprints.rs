//! Traces that were not kept, remembered in eight bytes each.
//!
//! ```text
//! 64 bits: │ policy that dropped it 14 │ time 18 │ fingerprint 32 │      0 is an empty place
//! bucket:  │ latest │ … │ oldest │                                     8 places, a cache line
//! ```
//!
//! An id has two buckets. It is put into the one that has room or has the older oldest entry, which
//! makes way. So a table of `size` entries remembers nearly all of the last `size / 2` and, in
//! practice, each of the last `2 × size / 5`. What is looked up moves to the front of its bucket.
//!
//! An id that is not in the table matches one of the 16 entries in its buckets by chance with a
//! probability of 16 / 2^32 = 4 × 10^-9: so many new traces are taken for ones that were not kept.

use super::policy::RuleId;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Fingerprints {
    /// Nothing, while nothing was noted; then all at once, of which the system gives memory as it is
    /// written.
    buckets: Vec<Bucket>,
    bucket_count: usize,
    entries: usize,
}

type Bucket = [u64; WAYS];

/// What is known of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The policy that dropped it, if one did.
    pub(super) by: Option<RuleId>,
    /// When, in seconds since some start.
    pub(super) at: u32,
}

/// Places of a bucket.
const WAYS: usize = 8;
const FINGERPRINT_BITS: u32 = 32;
const TIME_BITS: u32 = 18;
/// Times are counted up to this, and then anew: after three days.
const TIMES: u32 = 1 << TIME_BITS;
/// In place of a policy: the last number, which only stands for many names together.
const NO_POLICY: u64 = (1 << 14) - 1;

impl Fingerprints {
    /// Room for `size` traces, rounded up to whole buckets.
    pub(super) fn new(size: usize) -> Self {
        Self { buckets: Vec::new(), bucket_count: size.div_ceil(WAYS), entries: 0 }
    }

    /// Reads of both buckets what [`Fingerprints::insert`] looks at first; the sum means nothing.
    #[inline]
    pub(super) fn glance(&self, hash: u64) -> u64 {
        let [first, second] = self.places(hash);
        let latest = |bucket: usize| self.buckets.get(bucket).map_or(0, |bucket| bucket[0]);
        latest(first).wrapping_add(latest(second))
    }

    /// Notes the trace whose id has this hash.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry) {
        if self.bucket_count == 0 {
            return;
        }
        if self.buckets.is_empty() {
            self.buckets = vec![[0; WAYS]; self.bucket_count];
        }
        let [first, second] = self.places(hash);
        let oldest = |bucket: usize| self.buckets[bucket][WAYS - 1];
        let now = entry.at % TIMES;
        let age = |packed: u64| now.wrapping_sub(time(packed)) % TIMES;
        let chosen = match (oldest(first), oldest(second)) {
            (0, 0) if self.used(first) > self.used(second) => second,
            (0, _) => first,
            (_, 0) => second,
            (one, other) if age(other) > age(one) => second,
            // Both are of one second, so any bit of the hash that was not used decides.
            (one, other) if age(other) == age(one) && hash.count_ones() & 1 == 1 => second,
            _ => first,
        };
        let bucket = &mut self.buckets[chosen];
        self.entries += usize::from(bucket[WAYS - 1] == 0);
        bucket.rotate_right(1);
        bucket[0] = pack(hash, entry);
    }

    /// What was noted of the trace whose id has this hash.
    pub(super) fn get(&self, hash: u64) -> Option<Entry> {
        let (bucket, place) = self.find(hash)?;
        Some(unpack(self.buckets[bucket][place]))
    }

    /// The same; it was asked for, so it is forgotten later than others.
    pub(super) fn touch(&mut self, hash: u64) -> Option<Entry> {
        let (bucket, place) = self.find(hash)?;
        let bucket = &mut self.buckets[bucket];
        bucket[..=place].rotate_right(1);
        Some(unpack(bucket[0]))
    }

    fn find(&self, hash: u64) -> Option<(usize, usize)> {
        if self.buckets.is_empty() {
            return None;
        }
        let wanted = fingerprint(hash);
        self.places(hash).into_iter().find_map(|bucket| {
            let same = |packed: &u64| packed & u64::from(u32::MAX) == wanted;
            Some((bucket, self.buckets[bucket].iter().position(same)?))
        })
    }

    /// The two buckets of a hash. Its low half is the fingerprint; the high half, and both mixed,
    /// choose the buckets.
    fn places(&self, hash: u64) -> [usize; 2] {
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        [hash >> 32, mixed >> 32].map(|half| self.scale(half))
    }

    /// A number below 2^32 as the number of a bucket.
    fn scale(&self, number: u64) -> usize {
        let bucket = (u128::from(number) * self.bucket_count as u128) >> 32;
        usize::try_from(bucket).expect("it is below the number of buckets")
    }

    fn used(&self, bucket: usize) -> usize {
        self.buckets[bucket].iter().filter(|packed| **packed != 0).count()
    }

    /// Traces that are remembered.
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// Traces that can be remembered.
    pub(super) fn capacity(&self) -> usize {
        self.bucket_count * WAYS
    }

    /// Bytes of the table.
    pub(super) fn allocated(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }
}

/// The fingerprint of a hash, which is not 0.
fn fingerprint(hash: u64) -> u64 {
    (hash & u64::from(u32::MAX)).max(1)
}

fn pack(hash: u64, entry: Entry) -> u64 {
    let by = entry.by.map_or(NO_POLICY, |by| by.index() as u64).min(NO_POLICY);
    let at = u64::from(entry.at % TIMES);
    by << (FINGERPRINT_BITS + TIME_BITS) | at << FINGERPRINT_BITS | fingerprint(hash)
}

fn unpack(packed: u64) -> Entry {
    let by = packed >> (FINGERPRINT_BITS + TIME_BITS);
    let by = (by != NO_POLICY).then(|| RuleId::at(u16::try_from(by).expect("14 bits")));
    Entry { by, at: time(packed) }
}

fn time(packed: u64) -> u32 {
    u32::try_from(packed >> FINGERPRINT_BITS & u64::from(TIMES - 1)).expect("18 bits")
}

/// How long before `now` a time was, both in seconds since the same start.
pub(super) fn age(now: u32, at: u32) -> u32 {
    now.wrapping_sub(at) % TIMES
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn entry(at: u32) -> Entry {
        Entry { by: None, at }
    }

    #[test]
    fn an_entry_keeps_its_policy_and_its_time() {
        let mut table = Fingerprints::new(100);
        let dropped = Entry { by: Some(RuleId::at(16_382)), at: 262_143 };
        table.insert(7, dropped);
        table.insert(u64::MAX, entry(5));
        table.insert(0, entry(262_144 + 9));
        assert_eq!(table.get(7), Some(dropped));
        assert_eq!(table.get(u64::MAX), Some(entry(5)));
        assert_eq!(table.get(0).map(|entry| age(262_144 + 20, entry.at)), Some(11));
        assert_eq!((table.get(8), table.len(), table.capacity()), (None, 3, 104));
    }

    #[test]
    fn eight_bytes_a_trace_and_nothing_before_the_first() {
        let mut table = Fingerprints::new(80_000);
        assert_eq!((table.allocated(), table.get(1)), (0, None));
        table.insert(1, entry(0));
        assert_eq!(table.allocated(), 8 * table.capacity());
        let mut none = Fingerprints::new(0);
        none.insert(1, entry(0));
        assert_eq!((none.get(1), none.allocated()), (None, 0));
    }

    #[test]
    fn the_latest_are_remembered() {
        const SIZE: usize = 1 << 16;
        // Spread over time, and all of one second.
        for per_second in [1000, usize::MAX] {
            let mut random = StdRng::seed_from_u64(1);
            let mut table = Fingerprints::new(SIZE);
            let hashes: Vec<u64> = (0..4 * SIZE).map(|_| random.random()).collect();
            for (number, hash) in hashes.iter().enumerate() {
                table.insert(*hash, entry(u32::try_from(number / per_second).unwrap()));
            }
            let unknown = |count: usize| {
                hashes[hashes.len() - count..]
                    .iter()
                    .filter(|hash| table.get(**hash).is_none())
                    .count()
            };
            assert_eq!(table.len(), SIZE);
            match per_second {
                1000 => {
                    assert_eq!(unknown(SIZE * 2 / 5), 0);
                    assert!(unknown(SIZE / 2) <= SIZE / 2 / 5000, "{}", unknown(SIZE / 2));
                }
                _ => assert!(unknown(SIZE / 4) <= SIZE / 4 / 200, "{}", unknown(SIZE / 4)),
            }
        }
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut random = StdRng::seed_from_u64(2);
        let mut table = Fingerprints::new(1000);
        table.insert(77, entry(0));
        for number in 0..100_000 {
            table.insert(random.random(), entry(number / 100));
            assert!(table.touch(77).is_some(), "after {number}");
        }
    }

    #[test]
    fn one_new_trace_in_many_millions_is_taken_for_another() {
        let mut random = StdRng::seed_from_u64(3);
        let mut table = Fingerprints::new(100_000);
        for number in 0..200_000 {
            table.insert(random.random(), entry(number / 100));
        }
        // 4e-9 for each are 0.02 expected; 1e-6 would be 5.
        let taken = (0..5_000_000).filter(|_| table.get(random.random()).is_some()).count();
        assert!(taken <= 1, "{taken}");
    }
}
