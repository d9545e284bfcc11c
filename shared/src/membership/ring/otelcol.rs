//! The Collector's ring as of v0.156: 36 000 slots, 100 points for each endpoint, CRC-32.
//!
//! A key belongs to the first point at or behind its slot. Here that is looked up once for each
//! slot, so that a key needs one table read.
//! Source: contrib `exporter/loadbalancingexporter/consistent_hashing.go`.

use super::FREE;

const SLOTS: u32 = 36_000;
const POINTS: u32 = 100;
/// A point whose slot is taken tries the next ones; after as many as this it is left out.
const PROBES: u32 = 10;

/// The hash of `key`.
#[inline]
pub(super) fn hash(key: &[u8]) -> u32 {
    crc32(&[key])
}

/// The slot of a key with this hash.
#[inline]
pub(super) fn slot(hash: u32) -> u32 {
    hash % SLOTS
}

/// The owner of each slot. `names` must be sorted and not be empty: on a collision the point of
/// the earlier name stays.
#[allow(clippy::cast_possible_truncation, reason = "there are at most 4096 endpoints")]
pub(super) fn owners(names: &[String]) -> Box<[u16]> {
    let mut points = vec![FREE; SLOTS as usize];
    for (index, name) in names.iter().enumerate() {
        for point in 0..POINTS {
            let first = crc32(&[name.as_bytes(), &point.to_le_bytes()]) % SLOTS;
            let free = (0..PROBES)
                .map(|probe| ((first + probe) % SLOTS) as usize)
                .find(|slot| points[*slot] == FREE);
            if let Some(slot) = free {
                points[slot] = index as u16;
            }
        }
    }
    // Backwards, so that each slot learns the next point; the last ones wrap to the first.
    let mut next = points.iter().copied().find(|owner| *owner != FREE).unwrap_or(0);
    for owner in points.iter_mut().rev() {
        match *owner {
            FREE => *owner = next,
            point => next = point,
        }
    }
    points.into_boxed_slice()
}

/// CRC-32 as in IEEE 802.3, over `parts` one behind the other.
fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc = CRC_TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
    }
    !crc
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[&[0; 16]]), 0xecbb_4b55);
    }
}
