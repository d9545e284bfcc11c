//! What policies write about a trace besides their marks: values that occurred in it.

/// Hashes of values by the number of what was asked for, each noted once.
///
/// Few traces have more than a handful, so a short row is searched faster than a table.
#[derive(Debug, Clone, Default)]
#[allow(
    clippy::box_collection,
    reason = "a trace without notes, as most are, pays 8 bytes for them"
)]
pub(in crate::tail_sampling) struct Notes(Option<Box<Vec<(u16, u64)>>>);

impl Notes {
    /// How many different values are noted for one field; further ones are not.
    const VALUES: usize = 100;

    /// Notes that a field had a value with this hash.
    pub(in crate::tail_sampling) fn add(&mut self, field: u16, hash: u64) {
        let notes = self.0.get_or_insert_default();
        let mut values = 0;
        for (other, noted) in notes.iter() {
            if *other == field {
                if *noted == hash {
                    return;
                }
                values += 1;
            }
        }
        if values < Self::VALUES {
            notes.push((field, hash));
        }
    }

    /// The hashes of a field's values, as they came.
    pub(in crate::tail_sampling) fn values(&self, field: u16) -> impl Iterator<Item = u64> + '_ {
        let notes = self.0.as_deref().map_or(&[][..], Vec::as_slice);
        notes.iter().filter(move |(other, _)| *other == field).map(|(_, hash)| *hash)
    }

    /// Bytes on the heap.
    pub(in crate::tail_sampling) fn allocated(&self) -> usize {
        self.0.as_ref().map_or(0, |notes| {
            size_of::<Vec<(u16, u64)>>() + notes.capacity() * size_of::<(u16, u64)>()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_noted_once_and_not_too_many() {
        let mut notes = Notes::default();
        assert_eq!((notes.values(1).count(), notes.allocated()), (0, 0));
        for hash in [7, 8, 7] {
            notes.add(1, hash);
            notes.add(2, 5);
        }
        assert_eq!(notes.values(1).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(notes.values(2).collect::<Vec<_>>(), [5]);
        (0..1000).for_each(|hash| notes.add(3, hash));
        assert_eq!(notes.values(3).count(), Notes::VALUES);
    }
}
