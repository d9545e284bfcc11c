//! The buckets on one side of zero: a dense run of counters, as wide as the largest needs.

use super::mapping::{Range, shifted};

/// Counters of neighbouring buckets. A bucket outside of them holds nothing.
///
/// Most series are small, and a histogram has up to 160 buckets: counters of one byte make it an
/// eighth of what counters of eight would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Index of the first counter.
    offset: i32,
    width: Width,
    /// The counters, little endian.
    bytes: Vec<u8>,
}

/// Bytes of a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    #[default]
    One,
    Two,
    Four,
    Eight,
}

impl Width {
    const fn bytes(self) -> usize {
        match self {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    /// The least that holds `count`.
    const fn of(count: u64) -> Self {
        match count {
            0..=0xff => Width::One,
            0x100..=0xffff => Width::Two,
            0x1_0000..=0xffff_ffff => Width::Four,
            _ => Width::Eight,
        }
    }
}

impl Buckets {
    /// Index of the first bucket of [`Buckets::counts`].
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// Number of buckets, empty ones between others included.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width.bytes()
    }

    /// Whether no value was counted.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number of values in each bucket, from [`Buckets::offset`] on.
    pub fn counts(&self) -> impl ExactSizeIterator<Item = u64> + Clone + '_ {
        (0..self.len()).map(|place| self.read(place))
    }

    /// The buckets that hold something, with their indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        (i64::from(self.offset)..).zip(self.counts()).filter(|(_, count)| *count > 0)
    }

    /// The first and the last bucket.
    pub(super) fn range(&self) -> Option<Range> {
        let first = i64::from(self.offset);
        (!self.is_empty()).then(|| (first, first + as_index(self.len()) - 1))
    }

    /// The number of values in a bucket.
    pub(super) fn get(&self, index: i64) -> u64 {
        let place = usize::try_from(index - i64::from(self.offset));
        place.ok().filter(|place| *place < self.len()).map_or(0, |place| self.read(place))
    }

    /// Adds to a bucket. What has no index in OTLP counts in the nearest bucket that has one.
    pub(super) fn add(&mut self, index: i64, count: u64) {
        if count == 0 {
            return;
        }
        let index = index.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        let place = self.make_place(index);
        let sum = self.read(place).saturating_add(count);
        if Width::of(sum) > self.width {
            self.widen(Width::of(sum));
        }
        self.write(place, sum);
    }

    /// Where the counter of a bucket stands, after making room for it.
    fn make_place(&mut self, index: i64) -> usize {
        let narrow = |index: i64| i32::try_from(index).expect("add clamped it");
        let Some((first, last)) = self.range() else {
            self.offset = narrow(index);
            self.bytes = vec![0; self.width.bytes()];
            return 0;
        };
        let width = self.width.bytes();
        if index < first {
            let before = as_length(first - index) * width;
            self.bytes.splice(0..0, std::iter::repeat_n(0, before));
            self.offset = narrow(index);
            return 0;
        }
        if index > last {
            let length = as_length(index - first + 1) * width;
            self.bytes.reserve_exact(length - self.bytes.len());
            self.bytes.resize(length, 0);
        }
        as_length(index - first)
    }

    fn widen(&mut self, width: Width) {
        let mut wider =
            Self { offset: self.offset, width, bytes: vec![0; self.len() * width.bytes()] };
        for (place, count) in self.counts().enumerate() {
            wider.write(place, count);
        }
        *self = wider;
    }

    /// Makes one bucket of `2^change` ones.
    pub(super) fn coarsen(&mut self, change: u32) {
        let Some(range) = self.range() else { return };
        let (first, last) = shifted(range, change);
        let mut coarse = Self {
            offset: i32::try_from(first).expect("shifting brings it nearer to 0"),
            width: self.width,
            bytes: vec![0; as_length(last - first + 1) * self.width.bytes()],
        };
        for (index, count) in self.iter() {
            coarse.add(index >> change.min(i64::BITS - 1), count);
        }
        *self = coarse;
    }

    /// Empties the buckets up to the one at `last` and tells what they held.
    pub(super) fn take_until(&mut self, last: i64) -> u64 {
        let mut taken = 0_u64;
        let mut rest = Self::default();
        for (index, count) in self.iter() {
            match index <= last {
                true => taken = taken.saturating_add(count),
                false => rest.add(index, count),
            }
        }
        if taken > 0 {
            *self = rest;
        }
        taken
    }

    /// What it holds besides its own size, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn read(&self, place: usize) -> u64 {
        match self.width {
            Width::One => u64::from(self.bytes[place]),
            Width::Two => u64::from(u16::from_le_bytes(self.bytes.as_chunks().0[place])),
            Width::Four => u64::from(u32::from_le_bytes(self.bytes.as_chunks().0[place])),
            Width::Eight => u64::from_le_bytes(self.bytes.as_chunks().0[place]),
        }
    }

    /// Sets a counter that is wide enough.
    fn write(&mut self, place: usize, count: u64) {
        let [one, two, three, four, rest @ ..] = count.to_le_bytes();
        match self.width {
            Width::One => self.bytes[place] = one,
            Width::Two => self.bytes.as_chunks_mut().0[place] = [one, two],
            Width::Four => self.bytes.as_chunks_mut().0[place] = [one, two, three, four],
            Width::Eight => {
                let [five, six, seven, eight] = rest;
                self.bytes.as_chunks_mut().0[place] =
                    [one, two, three, four, five, six, seven, eight];
            }
        }
    }
}

fn as_index(length: usize) -> i64 {
    i64::try_from(length).expect("a run of buckets is in memory")
}

fn as_length(distance: i64) -> usize {
    usize::try_from(distance).expect("the maximal size bounds a run of buckets")
}
