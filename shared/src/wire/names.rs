//! Finds a few known names among the many of a span's attributes.

/// Places of the table; a power of two.
const PLACES: usize = 256;

/// Names, numbered in their order, each once.
#[derive(Debug, Clone)]
pub struct Names {
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
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The number of `name`, which is added if it is new.
    ///
    /// # Panics
    /// When there are more than 65,535.
    pub fn add(&mut self, name: &[u8]) -> usize {
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

    /// The name with this number.
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        self.names.get(number).map(|name| &**name)
    }

    /// The number of `name`. For most names that are not there it costs a load.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each attribute of each span")]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        match self.first[place(name)] {
            0 => None,
            first => self.find_from(first, name),
        }
    }

    /// The number of `name`, if it is among those at one place.
    fn find_from(&self, first: u16, name: &[u8]) -> Option<usize> {
        let mut number = first;
        while let Some(index) = number.checked_sub(1).map(usize::from) {
            if is_same(&self.names[index], name) {
                return Some(index);
            }
            number = self.next[index];
        }
        None
    }
}

/// Names of one namespace begin alike; they differ mostly in their length and their ends.
#[inline]
fn place(name: &[u8]) -> usize {
    let [.., last] = name else { return 0 };
    let (middle, last) = (usize::from(name[name.len() / 2]), usize::from(*last));
    (name.len() ^ (middle * 7) ^ (last * 31)) % PLACES
}

/// Whether two names are equal. They nearly always are when this is asked, and are short: a call of
/// the library's comparison takes longer.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ([ones @ .., last], [others @ .., other_last]) =
        (one.as_chunks::<8>().0, other.as_chunks::<8>().0)
    else {
        return one == other;
    };
    let differ = |one: [u8; 8], other: [u8; 8]| u64::from_ne_bytes(one) ^ u64::from_ne_bytes(other);
    let chunks = ones.iter().zip(others).fold(0, |all, (one, other)| all | differ(*one, *other));
    // The last eight bytes, of which some may have been compared before.
    let ends =
        one.last_chunk().zip(other.last_chunk()).map_or(0, |(one, other)| differ(*one, *other));
    chunks | differ(*last, *other_last) | ends == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert_eq!((names.get(123), names.get(301)), (Some(&b"a123same"[..]), None));
    }

    proptest! {
        #[test]
        fn names_are_the_same_if_all_their_bytes_are(
            name in proptest::collection::vec(any::<u8>(), 0..40),
            index in any::<proptest::sample::Index>(),
        ) {
            prop_assert!(is_same(&name, &name));
            prop_assert!(!is_same(&name, &[&name[..], b"x"].concat()));
            if !name.is_empty() {
                let mut other = name.clone();
                other[index.index(name.len())] ^= 1;
                prop_assert!(!is_same(&name, &other));
            }
        }
    }
}
