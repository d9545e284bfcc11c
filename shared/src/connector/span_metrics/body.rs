//! The counts of a series and its key, in one allocation: there may be a hundred thousand of them.
//!
//! ```text
//! | how many counts (2) | width (1) | counts, 2, 4 or 8 bytes each, little endian | key |
//! ```
//! All counts of a series have one width, which grows with the greatest of them.

/// Counts of fixed number, and a key of any length.
#[derive(Debug, Clone)]
pub(crate) struct Body(Box<[u8]>);

/// Bytes ahead of the counts.
const HEAD: usize = 3;

/// Bytes of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    const fn of(count: u64) -> Self {
        match count {
            0..0x1_0000 => Width::Two,
            0x1_0000..0x1_0000_0000 => Width::Four,
            _ => Width::Eight,
        }
    }
}

impl Body {
    /// `slots` counts, all of them 0.
    pub(crate) fn new(key: &[u8], slots: u16) -> Self {
        Self::with_width(key, slots, Width::Two)
    }

    fn with_width(key: &[u8], slots: u16, width: Width) -> Self {
        let counts = usize::from(slots) * width as usize;
        let mut bytes = Vec::with_capacity(HEAD + counts + key.len());
        bytes.extend_from_slice(&slots.to_le_bytes());
        bytes.push(width as u8);
        bytes.resize(HEAD + counts, 0);
        bytes.extend_from_slice(key);
        Self(bytes.into())
    }

    /// Bytes that it would take with narrow counts, without what it is embedded in.
    pub(crate) fn heap_bytes_of(key: &[u8], slots: u16) -> usize {
        HEAD + usize::from(slots) * Width::Two as usize + key.len()
    }

    /// Bytes that it takes, without what it is embedded in.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.len()
    }

    /// Something of both ends, so that all of it is at hand when it is needed.
    #[inline]
    pub(crate) fn touch(&self) -> u8 {
        self.0[0] ^ self.0[self.0.len() - 1]
    }

    /// The key.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.0[HEAD + self.slots() * self.width() as usize..]
    }

    /// The counts, in their order.
    pub(crate) fn counts(&self) -> impl ExactSizeIterator<Item = u64> + Clone + '_ {
        (0..self.slots()).map(|slot| self.get(slot))
    }

    /// Adds to a count, which stops at the greatest number there is.
    #[inline]
    pub(crate) fn add(&mut self, slot: usize, more: u64) {
        // Most stay narrow, or do not become wider.
        if let Width::Two = self.width()
            && let Some(count) = self.0[HEAD..].as_chunks_mut().0.get_mut(slot)
            && let Ok(sum) = u16::try_from(more.saturating_add(u16::from_le_bytes(*count).into()))
        {
            *count = sum.to_le_bytes();
            return;
        }
        self.add_widely(slot, more);
    }

    #[inline(never)]
    fn add_widely(&mut self, slot: usize, more: u64) {
        let count = self.get(slot).saturating_add(more);
        let width = Width::of(count);
        if width > self.width() {
            self.widen(width);
        }
        self.set(slot, count);
    }

    #[inline]
    fn get(&self, slot: usize) -> u64 {
        let counts = &self.0[HEAD..];
        match self.width() {
            Width::Two => u16::from_le_bytes(counts.as_chunks().0[slot]).into(),
            Width::Four => u32::from_le_bytes(counts.as_chunks().0[slot]).into(),
            Width::Eight => u64::from_le_bytes(counts.as_chunks().0[slot]),
        }
    }

    /// `count` is no wider than the width of all counts.
    #[inline]
    fn set(&mut self, slot: usize, count: u64) {
        let bytes = count.to_le_bytes();
        let [a, b, c, d, ..] = bytes;
        let width = self.width();
        let counts = &mut self.0[HEAD..];
        match width {
            Width::Two => counts.as_chunks_mut().0[slot] = [a, b],
            Width::Four => counts.as_chunks_mut().0[slot] = [a, b, c, d],
            Width::Eight => counts.as_chunks_mut().0[slot] = bytes,
        }
    }

    #[cold]
    fn widen(&mut self, width: Width) {
        let slots = u16::from_le_bytes([self.0[0], self.0[1]]);
        let mut wide = Self::with_width(self.key(), slots, width);
        for (slot, count) in self.counts().enumerate() {
            wide.set(slot, count);
        }
        *self = wide;
    }

    #[inline]
    fn slots(&self) -> usize {
        u16::from_le_bytes([self.0[0], self.0[1]]).into()
    }

    #[inline]
    fn width(&self) -> Width {
        match self.0[2] {
            2 => Width::Two,
            4 => Width::Four,
            _ => Width::Eight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_body_takes_two_bytes_a_count() {
        let body = Body::new(b"key", 17);
        assert_eq!((body.heap_bytes(), body.key()), (40, &b"key"[..]));
        assert_eq!(body.counts().collect::<Vec<_>>(), [0; 17]);
        assert_eq!(Body::heap_bytes_of(b"key", 17), 40);
    }

    proptest! {
        #[test]
        fn counts_are_those_of_plain_numbers(
            additions in proptest::collection::vec((0..3_usize, prop_oneof![
                1..4_u64, 0..0x1_0000_u64, 0..0x1_0000_0000_u64, any::<u64>(),
            ]), 0..40),
            key in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let (mut body, mut plain) = (Body::new(&key, 3), [0_u64; 3]);
            for (slot, more) in additions {
                body.add(slot, more);
                plain[slot] = plain[slot].saturating_add(more);
                prop_assert_eq!(body.counts().collect::<Vec<_>>(), plain);
                prop_assert_eq!(body.key(), &key[..]);
            }
        }
    }
}
