//! Traces that wait for their decision.
//!
//! Traces stand in a row in order of arrival, which, since all wait equally long, is the order of
//! their deadlines too: the one in front is due next. The row is made of small chunks, so it grows
//! without copying and its memory follows the load. Tables find a trace by its id: many small ones, so
//! that none takes long when it grows. Most spans are of a trace that began a moment ago; those are
//! found in a small table that stays in the cache.

use std::collections::VecDeque;
use std::hint::black_box;

use hashbrown::HashTable;

use super::headers::shrink_index;
use super::trace::{Key, Trace, TraceId};

/// A trace's place in the row; counts up for ever.
pub(super) type Sequence = u64;

/// All traces of a shard that wait.
#[derive(Debug)]
pub(super) struct Traces {
    seed: u64,
    /// Every chunk but the last has [`CHUNK`] places; a judged trace leaves a hole.
    chunks: VecDeque<Vec<Option<Trace>>>,
    /// Sequence number of the first place of the first chunk.
    first: Sequence,
    /// Places of the first chunk that were passed.
    passed: usize,
    /// A trace is in one of these, by its hash.
    index: Box<[HashTable<Slot>]>,
    /// Bytes of these.
    index_bytes: usize,
    /// The trace that began last of those whose hashes end alike.
    recent: Box<[Slot]>,
    count: usize,
}

/// Eight bytes a trace: the low halves of its sequence number and of its id's hash.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    sequence: u32,
    hash: u32,
}

impl Slot {
    /// Spreads the half over the bits that the table looks at.
    #[inline]
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The table that is looked into, by bits that it does not look at itself.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "there are few tables")]
    fn table(hash: u32) -> usize {
        (Self::spread(hash) >> 44) as usize % TABLES
    }
}

/// Places in a chunk.
const CHUNK: usize = 256;
/// With ten million traces in them, one that grows moves 40,000 slots: less than half a millisecond.
const TABLES: usize = 256;
/// Traces that began a moment ago: 32 KiB of slots.
const RECENT: usize = 4096;

impl Traces {
    /// No traces; `seed` keeps the table from being attacked.
    pub(super) fn new(seed: u64) -> Self {
        let index = (0..TABLES).map(|_| HashTable::new()).collect();
        Self {
            seed,
            chunks: VecDeque::new(),
            first: 0,
            passed: 0,
            index,
            index_bytes: 0,
            recent: vec![Slot::default(); RECENT].into(),
            count: 0,
        }
    }

    /// What tables look by for an id.
    #[inline]
    pub(super) fn key(&self, id: TraceId) -> Key {
        Key::new(id, self.seed)
    }

    /// The place of a trace, if it waits.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<Sequence> {
        let hash = key.low();
        let is_its = |slot: &Slot| {
            slot.hash == hash
                && self
                    .get(self.widen(slot.sequence))
                    .is_some_and(|trace| trace.summary.trace_id == key.id)
        };
        let recent = &self.recent[hash as usize % RECENT];
        let slot = match is_its(recent) {
            true => recent,
            false => self.index[Slot::table(hash)].find(Slot::spread(hash), is_its)?,
        };
        Some(self.widen(slot.sequence))
    }

    /// The sequence number whose low half is `sequence`: far fewer than 2^32 are in the row.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
    fn widen(&self, sequence: u32) -> Sequence {
        self.first + u64::from(sequence.wrapping_sub(self.first as u32))
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "places are counted in memory")]
    fn place(&self, sequence: Sequence) -> Option<(usize, usize)> {
        let place = sequence.checked_sub(self.first)? as usize;
        Some((place / CHUNK, place % CHUNK))
    }

    /// The trace at a place, unless it was judged.
    #[inline]
    pub(super) fn get(&self, sequence: Sequence) -> Option<&Trace> {
        let (chunk, place) = self.place(sequence)?;
        self.chunks.get(chunk)?.get(place)?.as_ref()
    }

    /// The trace at a place, unless it was judged.
    #[inline]
    pub(super) fn get_mut(&mut self, sequence: Sequence) -> Option<&mut Trace> {
        let (chunk, place) = self.place(sequence)?;
        self.chunks.get_mut(chunk)?.get_mut(place)?.as_mut()
    }

    /// Puts a trace, with its hash, at the end of the row. Its id must not be in it.
    #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
    pub(super) fn push(&mut self, trace: Trace) -> Sequence {
        if self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push_back(Vec::with_capacity(CHUNK));
        }
        debug_assert_eq!(trace.key(), self.key(trace.summary.trace_id));
        let hash = trace.key().low();
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.back_mut().expect("one was pushed if there was none");
        let sequence = self.first + (before + chunk.len()) as u64;
        chunk.push(Some(trace));
        let slot = Slot { sequence: sequence as u32, hash };
        let index = &mut self.index[Slot::table(hash)];
        self.index_bytes -= index.allocation_size();
        index.insert_unique(Slot::spread(hash), slot, |slot| Slot::spread(slot.hash));
        self.index_bytes += index.allocation_size();
        self.recent[hash as usize % RECENT] = slot;
        self.count += 1;
        sequence
    }

    /// Takes a trace out of the row.
    pub(super) fn remove(&mut self, sequence: Sequence) -> Option<Trace> {
        let trace = self.take(sequence)?;
        self.forget(sequence, trace.key());
        Some(trace)
    }

    /// The same, but its id must be [forgotten](Self::forget_all) before one is found or pushed.
    pub(super) fn take(&mut self, sequence: Sequence) -> Option<Trace> {
        let (chunk, place) = self.place(sequence)?;
        let trace = self.chunks.get_mut(chunk)?.get_mut(place)?.take()?;
        self.count -= 1;
        self.pass_holes();
        Some(trace)
    }

    /// Takes the ids of traces that were taken out of the tables.
    ///
    /// Each look waits for memory, but none for another, as long as nothing is done in between.
    pub(super) fn forget_all(&mut self, taken: &[(Sequence, Key)]) {
        let mut looked = 0;
        for (_, key) in taken {
            let hash = key.low();
            let index = &self.index[Slot::table(hash)];
            index.find(Slot::spread(hash), |slot| {
                looked ^= slot.sequence;
                false
            });
        }
        black_box(looked);
        for (sequence, key) in taken {
            self.forget(*sequence, *key);
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
    fn forget(&mut self, sequence: Sequence, key: Key) {
        let hash = key.low();
        let index = &mut self.index[Slot::table(hash)];
        let found = index.find_entry(Slot::spread(hash), |slot| slot.sequence == sequence as u32);
        if let Ok(entry) = found {
            entry.remove();
        }
    }

    /// Moves the front of the row to the first trace that waits.
    fn pass_holes(&mut self) {
        while let Some(chunk) = self.chunks.front() {
            match chunk.get(self.passed) {
                Some(Some(_)) => return,
                Some(None) => self.passed += 1,
                None => {
                    // The end of the last chunk that is not full is the end of the row.
                    if chunk.len() < CHUNK {
                        return;
                    }
                    self.chunks.pop_front();
                    self.first += CHUNK as u64;
                    self.passed = 0;
                }
            }
        }
    }

    /// The trace that has waited longest.
    pub(super) fn front(&self) -> Option<(Sequence, &Trace)> {
        let trace = self.chunks.front()?.get(self.passed)?.as_ref()?;
        Some((self.first + self.passed as u64, trace))
    }

    /// How many traces wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Places in the row, holes included.
    pub(super) fn places(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Bytes of the row and the tables.
    pub(super) fn allocated(&self) -> usize {
        self.places() * size_of::<Option<Trace>>() + self.index_bytes
    }

    /// Gives room back that is not needed.
    pub(super) fn trim(&mut self) {
        for index in &mut self.index {
            match index.is_empty() {
                true => *index = HashTable::new(),
                false => shrink_index(index, |slot| Slot::spread(slot.hash)),
            }
        }
        self.index_bytes = self.index.iter().map(HashTable::allocation_size).sum();
        if self.chunks.capacity() > 4 * self.chunks.len() {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> TraceId {
        (u128::from(number) << 64 | 7).to_be_bytes()
    }

    const SEED: u64 = 3;

    fn key(number: u64) -> Key {
        Key::new(id(number), SEED)
    }

    fn trace(number: u64) -> Trace {
        let Key { id, hash } = key(number);
        Trace { hash, ..Trace::new(id, shared::clock::now()) }
    }

    #[test]
    fn traces_are_found_in_any_order_and_leave_in_order() {
        let mut traces = Traces::new(SEED);
        for number in 0..2000 {
            traces.push(trace(number));
        }
        // Every other one is judged ahead of its turn.
        for number in (0..2000).step_by(2) {
            let sequence = traces.find(key(number)).unwrap();
            assert_eq!(traces.remove(sequence).unwrap().summary.trace_id, id(number));
            assert_eq!(traces.find(key(number)), None);
        }
        assert_eq!(traces.len(), 1000);
        for number in (1..2000).step_by(2) {
            let (sequence, front) = traces.front().unwrap();
            assert_eq!(front.summary.trace_id, id(number));
            assert_eq!(traces.find(key(number)), Some(sequence));
            traces.remove(sequence);
        }
        assert!(traces.front().is_none());
        traces.trim();
        assert!(traces.allocated() < 64 * 1024, "{}", traces.allocated());
    }

    #[test]
    fn sequence_numbers_survive_a_wrap_of_their_low_half() {
        let mut traces = Traces::new(SEED);
        traces.first = u64::from(u32::MAX) - 300;
        for number in 0..1000 {
            traces.push(trace(number));
        }
        for number in 0..1000 {
            let sequence = traces.find(key(number)).unwrap();
            assert_eq!(traces.get(sequence).unwrap().summary.trace_id, id(number));
            traces.remove(sequence);
        }
        assert_eq!(traces.len(), 0);
    }

    #[test]
    fn a_judged_place_is_gone() {
        let mut traces = Traces::new(SEED);
        let first = traces.push(trace(1));
        traces.push(trace(2));
        assert!(traces.remove(first).is_some());
        assert!(traces.remove(first).is_none());
        assert!(traces.get(first).is_none());
    }

    #[test]
    fn a_trace_is_small() {
        assert!(size_of::<Option<Trace>>() <= 128, "{}", size_of::<Option<Trace>>());
    }
}
