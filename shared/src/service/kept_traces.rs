//! Traces that were lately kept by tail sampling, for those who would point at a trace and do not
//! want to point at nothing.
//!
//! A table of hashes that others read while it is written: what finds no room takes the place of
//! another, whichever. That a trace seems kept which was not has a chance of 2⁻⁵⁰ or so.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use xxhash_rust::xxh3::xxh3_64;

/// Hashes that stand together; one cache line.
const WAYS: usize = 8;
/// Lines of the table.
const LINES: usize = 1 << 14;

/// See the module's head. Nothing is noted before somebody wants to know.
#[derive(Debug, Default)]
pub struct KeptTraces {
    table: OnceLock<Box<[[AtomicU64; WAYS]]>>,
}

impl KeptTraces {
    /// How many traces are remembered.
    pub const CAPACITY: usize = WAYS * LINES;

    /// From now on they are noted.
    pub fn want(&self) {
        self.table.get_or_init(|| (0..LINES).map(|_| Default::default()).collect());
    }

    /// Notes a trace that is kept.
    pub fn note(&self, trace_id: &[u8; 16]) {
        let Some(table) = self.table.get() else { return };
        let hash = hash(trace_id);
        let line = &table[line_of(hash)];
        if line.iter().any(|slot| slot.load(Relaxed) == hash) {
            return;
        }
        let free = line.iter().position(|slot| slot.load(Relaxed) == 0);
        line[free.unwrap_or(way_of(hash))].store(hash, Relaxed);
    }

    /// Whether a trace was kept lately.
    pub fn contains(&self, trace_id: &[u8; 16]) -> bool {
        let Some(table) = self.table.get() else { return false };
        let hash = hash(trace_id);
        table[line_of(hash)].iter().any(|slot| slot.load(Relaxed) == hash)
    }
}

/// 0 marks a free slot.
fn hash(trace_id: &[u8; 16]) -> u64 {
    xxh3_64(trace_id).max(1)
}

#[allow(clippy::cast_possible_truncation, reason = "the low bits are meant")]
fn line_of(hash: u64) -> usize {
    hash as usize % LINES
}

/// Which one goes where all are taken, at random: by other bits than the line.
#[allow(clippy::cast_possible_truncation, reason = "some bits are meant")]
fn way_of(hash: u64) -> usize {
    (hash >> 32) as usize % WAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> [u8; 16] {
        (number as u128 + 1).to_be_bytes()
    }

    #[test]
    fn nothing_is_noted_before_it_is_wanted() {
        let kept = KeptTraces::default();
        kept.note(&id(1));
        assert!(!kept.contains(&id(1)));
        kept.want();
        assert!(!kept.contains(&id(1)));
        kept.note(&id(1));
        assert!(kept.contains(&id(1)) && !kept.contains(&id(2)));
    }

    #[test]
    fn the_latest_are_found_and_no_others() {
        let kept = KeptTraces::default();
        kept.want();
        let all = 4 * KeptTraces::CAPACITY;
        for number in 0..all {
            kept.note(&id(number));
        }
        let found = |numbers: std::ops::Range<usize>| {
            let count = numbers.len();
            numbers.filter(|number| kept.contains(&id(*number))).count() * 100 / count
        };
        assert!(found(all - KeptTraces::CAPACITY / 4..all) > 75);
        assert_eq!(found(all..2 * all), 0);
    }
}
