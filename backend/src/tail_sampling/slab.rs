//! Values under small numbers that are used again.

/// A vector with holes: a value keeps its number until it is removed.
#[derive(Debug)]
pub(super) struct Slab<T> {
    values: Vec<Option<T>>,
    /// Numbers below `values.len()` without a value; may hold larger ones, which are passed over.
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Keeps `value` and returns its number.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        while let Some(number) = self.free.pop() {
            if let Some(hole) = self.values.get_mut(number as usize) {
                *hole = Some(value);
                return number;
            }
        }
        self.values.push(Some(value));
        u32::try_from(self.values.len() - 1).expect("a shard holds fewer than 2^32 things")
    }

    /// Takes the value under `number` out.
    pub(super) fn remove(&mut self, number: u32) -> T {
        let value = self.values[number as usize].take().expect("the number was given by insert");
        self.free.push(number);
        // Holes at the end go, so that a burst leaves nothing behind.
        while let Some(None) = self.values.last() {
            self.values.pop();
        }
        if self.values.is_empty() {
            self.free.clear();
        }
        value
    }

    /// The value under `number`, if there is one.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)?.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.values.get_mut(number as usize)?.as_mut()
    }

    /// All values.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().flatten()
    }

    /// Gives room back that is not needed.
    pub(super) fn shrink(&mut self) {
        let length = self.values.len();
        self.free.retain(|number| (*number as usize) < length);
        if self.values.capacity() > 4 * length {
            self.values.shrink_to(2 * length);
            self.free.shrink_to(2 * length);
        }
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, number: u32) -> &T {
        self.values[number as usize].as_ref().expect("the number was given by insert")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.values[number as usize].as_mut().expect("the number was given by insert")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..4).map(|value| slab.insert(value)).collect();
        assert_eq!(slab.remove(numbers[1]), 1);
        assert_eq!(slab.insert(9), numbers[1]);
        assert_eq!((slab[numbers[1]], slab[numbers[3]]), (9, 3));
    }

    #[test]
    fn an_emptied_slab_holds_nothing() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..1000).map(|value| slab.insert(value)).collect();
        for number in numbers {
            slab.remove(number);
        }
        slab.shrink();
        assert_eq!((slab.values.capacity(), slab.free.capacity()), (0, 0));
        assert_eq!(slab.insert(1), 0);
    }
}
