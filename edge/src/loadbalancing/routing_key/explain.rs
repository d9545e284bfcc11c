//! Why a record goes where it goes: the very cut, with its question to the ring written down.

use std::cell::RefCell;

use shared::Batch;
use shared::membership::{Owners, Ring, RingHash};

use super::{RoutingKey, Split};

/// What a record was routed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// The bytes that were hashed.
    pub(crate) key: Vec<u8>,
    /// The number of their owner on the ring.
    pub(crate) owner: usize,
    /// Whether the record had its routing key.
    pub(crate) has_key: bool,
}

impl RoutingKey {
    /// Explains where `record` goes, a batch of one item; `None` if there is no backend or no item.
    pub(crate) fn explain(&self, record: &Batch, ring: &Ring) -> Option<Explained> {
        if ring.endpoints().is_empty() {
            return None;
        }
        let asked = Asked { ring, key: RefCell::default() };
        let Split { parts, keyless } = self.split(record, &asked);
        let owner = parts.first()?.0;
        Some(Explained { key: asked.key.into_inner(), owner, has_key: keyless == 0 })
    }
}

/// A ring that keeps what it was asked last.
struct Asked<'r> {
    ring: &'r Ring,
    key: RefCell<Vec<u8>>,
}

impl Owners for Asked<'_> {
    fn owner(&self, key: &[u8]) -> Option<usize> {
        *self.key.borrow_mut() = key.to_vec();
        self.ring.owner(key)
    }

    fn hash(&self) -> RingHash {
        self.ring.hash()
    }
}
