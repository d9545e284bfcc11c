//! Finds a few known names among many: one comparison for most of the others.

/// Places of the table; a power of two.
const PLACES: usize = 256;

/// Names, numbered in their order, each once.
#[derive(Debug)]
pub(crate) struct Names {
    names: Vec<Box<[u8]>>,
    /// For each place, the number of the first name there plus one.
    first: Box<[u16; PLACES]>,
    /// For each name, the number of the next at its place plus one.
    next: Vec<u16>,
}

impl Default for Names {
    fn default() -> Self {
        Self { names: Vec::new(), first: Box::new([0; PLACES]), next: Vec::new() }
    }
}

impl Names {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of `name`, which is added if it is new.
    ///
    /// # Panics
    /// When there are more than 65,535.
    pub(crate) fn add(&mut self, name: &[u8]) -> usize {
        if let Some(number) = self.find(name) {
            return number;
        }
        let number = self.names.len();
        let place = &mut self.first[place(name)];
        self.next.push(*place);
        *place = u16::try_from(number + 1).expect("fewer names are configured");
        self.names.push(name.into());
        number
    }

    /// The number of `name`.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let mut number = self.first[place(name)];
        while let Some(index) = number.checked_sub(1).map(usize::from) {
            if *self.names[index] == *name {
                return Some(index);
            }
            number = self.next[index];
        }
        None
    }
}

/// Names differ mostly in their length and their ends.
#[inline]
fn place(name: &[u8]) -> usize {
    let at = |index: usize| name.get(index).map_or(0, |byte| usize::from(*byte));
    let (middle, last) = (at(name.len() / 2), at(name.len().wrapping_sub(1)));
    (name.len() ^ (middle * 7) ^ (last * 31)) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_among_its_likes() {
        let mut names = Names::default();
        // All at one place.
        for number in 0..300_usize {
            let name = format!("a{number:03}same");
            assert_eq!(names.add(name.as_bytes()), number);
            assert_eq!(names.add(name.as_bytes()), number);
        }
        assert_eq!(names.len(), 300);
        assert_eq!(names.find(b"a123same"), Some(123));
        assert_eq!((names.find(b"a300same"), names.find(b"")), (None, None));
        assert_eq!((names.add(b""), names.find(b"")), (300, Some(300)));
    }
}
