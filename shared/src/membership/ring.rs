//! The ring: a table from a key's hash to the endpoint that owns it. No search.
//!
//! Invariants: a ring is a function of its kind and of the *set* of endpoints, so processes that
//! know the same set agree on every key; [`Ring::digest`] tells whether they do.
//!
//! Our own ring has 2^18 slots. Every endpoint has an order of preference over all slots, a
//! pseudo-random permutation made from its name; a slot goes to the endpoint that ranks it
//! highest. That alone would move a key only to a joiner or from a leaver. An endpoint that has
//! `MAX_SHARE` times the mean takes no more, which keeps the shares even and costs a few moves:
//!
//! ```text
//! rank   e1     e2     e3
//!  0    slot 4 slot 1 slot 4     4 → e1 (earlier in the sorted names), 1 → e2
//!  1    slot 0 slot 4 slot 2     0 → e1, 2 → e3
//!  2    slot 3 slot 3 slot 0     3 → e1, or e2 once e1 has its share
//! ```
//!
//! Measured over 2 to 300 endpoints: the largest share is at most 1.04 of the mean, and a join
//! or leave moves at most 1.06 times the ideal share of the keys. 2^17 slots move up to 1.15.

mod otelcol;
#[cfg(test)]
#[allow(clippy::cast_precision_loss, reason = "counts of slots are far below 2^53")]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{MAX_ENDPOINTS, dial_address};
use crate::config_enum;

config_enum! {
    /// Which ring: all edges of a fleet must be set alike.
    pub enum RingHash {
        /// Ours: even shares, few moves, independent of how an endpoint is spelled.
        Xxh3 = "xxh3",
        /// The Collector's as of v0.156, bit for bit, for a fleet that is moving over.
        OtelcolV0_156 = "otelcol_v0_156",
    }
}

const SLOT_BITS: u32 = 18;
const SLOTS: usize = 1 << SLOT_BITS;
/// The largest share of an endpoint, as a multiple of the mean.
const MAX_SHARE: f64 = 1.04;
/// A slot that no endpoint has taken yet.
const FREE: u16 = u16::MAX;

/// A table from keys to the endpoints that own them.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    hash: RingHash,
    endpoints: Vec<String>,
    /// Empty if there are no endpoints.
    slots: Slots,
    digest: u64,
}

/// The owner of each slot, as an index into the endpoints.
///
/// A lookup is a miss of the first-level cache wherever it goes, so size is time: a byte for each
/// slot, if that is enough, leaves most of the table in the second level.
#[derive(Clone, PartialEq, Eq)]
enum Slots {
    /// Up to 256 endpoints.
    Narrow(Box<[u8]>),
    Wide(Box<[u16]>),
}

impl Slots {
    fn new(owners: Box<[u16]>) -> Self {
        let narrow: Result<Box<[u8]>, _> =
            owners.iter().map(|owner| u8::try_from(*owner)).collect();
        narrow.map_or(Slots::Wide(owners), Slots::Narrow)
    }

    #[inline]
    fn owner(&self, slot: usize) -> Option<usize> {
        match self {
            Slots::Narrow(owners) => owners.get(slot).copied().map(usize::from),
            Slots::Wide(owners) => owners.get(slot).copied().map(usize::from),
        }
    }

    fn len(&self) -> usize {
        match self {
            Slots::Narrow(owners) => owners.len(),
            Slots::Wide(owners) => owners.len(),
        }
    }
}

/// Where a key falls on a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The key's hash: 64 bits with our ring, 32 with the Collector's.
    pub hash: u64,
    /// The slot that this hash leads to.
    pub slot: usize,
}

impl Ring {
    /// The ring of a set of endpoints; order and duplicates do not matter.
    ///
    /// Takes about 15 ms of CPU time, whatever the number of endpoints.
    pub fn new(hash: RingHash, endpoints: impl IntoIterator<Item = String>) -> Self {
        // Sorted by the name that is hashed, and one endpoint for each such name.
        let by_name: BTreeMap<String, String> = endpoints
            .into_iter()
            .map(|endpoint| (hashed_name(hash, &endpoint).into_owned(), endpoint))
            .collect();
        let (names, endpoints): (Vec<_>, Vec<_>) = by_name.into_iter().take(MAX_ENDPOINTS).unzip();
        let owners = match hash {
            _ if names.is_empty() => Box::default(),
            RingHash::Xxh3 => xxh3_owners(&names),
            RingHash::OtelcolV0_156 => otelcol::owners(&names),
        };
        let mut text = hash.name().to_owned();
        for name in &names {
            text.push('\n');
            text.push_str(name);
        }
        Self { hash, endpoints, slots: Slots::new(owners), digest: xxh3_64(text.as_bytes()) }
    }

    /// The index in [`Ring::endpoints`] of the owner of `key`; `None` if there is no endpoint.
    #[inline]
    pub fn owner(&self, key: &[u8]) -> Option<usize> {
        self.slots.owner(self.place(key).slot)
    }

    /// Where `key` falls, whoever has that slot.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a slot is far below 2^32")]
    pub fn place(&self, key: &[u8]) -> Place {
        match self.hash {
            RingHash::Xxh3 => {
                let hash = xxh3_64(key);
                Place { hash, slot: (hash >> (u64::BITS - SLOT_BITS)) as usize }
            }
            RingHash::OtelcolV0_156 => {
                let hash = otelcol::hash(key);
                Place { hash: hash.into(), slot: otelcol::slot(hash) as usize }
            }
        }
    }

    /// How many slots each endpoint has, in the order of [`Ring::endpoints`].
    pub fn slots_of_each(&self) -> Vec<usize> {
        let mut slots = vec![0; self.endpoints.len()];
        for owner in (0..self.slots.len()).filter_map(|slot| self.slots.owner(slot)) {
            slots[owner] += 1;
        }
        slots
    }

    /// How many slots there are; none if there is no endpoint.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The endpoints as they were given, sorted by the names that are hashed.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The same for all rings of this kind over this set; different for others.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Which ring this is.
    pub fn hash(&self) -> RingHash {
        self.hash
    }
}

/// Tells who owns a key.
pub trait Owners {
    /// The number of the owner of `key` among the ring's endpoints; `None` if there is none.
    fn owner(&self, key: &[u8]) -> Option<usize>;

    /// Which ring it is, and so which identifiers the keys are.
    fn hash(&self) -> RingHash;
}

impl Owners for Ring {
    #[inline]
    fn owner(&self, key: &[u8]) -> Option<usize> {
        Ring::owner(self, key)
    }

    fn hash(&self) -> RingHash {
        self.hash
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({}, {:?}, {:016x})", self.hash.name(), self.endpoints, self.digest)
    }
}

/// The name that places `endpoint` on the ring.
///
/// The Collector hashes what the resolver gives, so that `a` and `a:4317` are one backend and two
/// places; ours hashes the address that is dialled.
fn hashed_name(hash: RingHash, endpoint: &str) -> Cow<'_, str> {
    match hash {
        RingHash::Xxh3 => dial_address(endpoint),
        RingHash::OtelcolV0_156 => Cow::Borrowed(endpoint),
    }
}

/// An endpoint's order of preference: a permutation of the slots.
#[derive(Clone, Copy)]
struct Preference {
    step: u32,
    start: u32,
    mix: u32,
}

impl Preference {
    #[allow(clippy::cast_possible_truncation, reason = "wants these bits of the hash")]
    fn of(name: &str) -> Self {
        let (place, mix) = (xxh3_64(name.as_bytes()), xxh3_64_with_seed(name.as_bytes(), 1));
        Self { step: place as u32 | 1, start: (place >> 32) as u32, mix: mix as u32 | 1 }
    }

    /// The slot at `rank`. Each step is a bijection of 18 bits: an odd factor, an addition, and
    /// the upper half added to the lower.
    #[inline]
    fn slot(self, rank: u32) -> usize {
        const MASK: u32 = (1 << SLOT_BITS) - 1;
        let mut slot = rank.wrapping_mul(self.step).wrapping_add(self.start) & MASK;
        slot ^= slot >> (SLOT_BITS / 2);
        slot = slot.wrapping_mul(self.mix) & MASK;
        slot ^= slot >> (SLOT_BITS / 2);
        slot as usize
    }
}

/// Gives each slot to the endpoint that ranks it highest, among those with room.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "slots and endpoints are far below 2^32 and 2^16"
)]
fn xxh3_owners(names: &[String]) -> Box<[u16]> {
    let room = (SLOTS as f64 * MAX_SHARE / names.len() as f64) as usize;
    let room = room.max(SLOTS.div_ceil(names.len()));
    let mut endpoints: Vec<(Preference, usize)> =
        names.iter().map(|name| (Preference::of(name), room)).collect();
    let mut owners = vec![FREE; SLOTS].into_boxed_slice();
    let mut free = SLOTS;
    for rank in 0..SLOTS as u32 {
        for (index, (preference, room)) in endpoints.iter_mut().enumerate() {
            let owner = &mut owners[preference.slot(rank)];
            if *owner == FREE && *room > 0 {
                *owner = index as u16;
                *room -= 1;
                free -= 1;
            }
        }
        if free == 0 {
            break;
        }
    }
    owners
}
