//! Protobuf framing: tags, varints and lengths, read in place.

/// One field of a message, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field number, 1 to 2^29 − 1.
    pub number: u32,
    /// What the field holds.
    pub value: Value<'a>,
    /// The whole field as it stands in the message: tag, length and content.
    pub raw: &'a [u8],
}

/// A field's value, by wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)] // numbered as on the wire, so that asking for the wire type costs nothing
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64) = 0,
    /// Wire type 1, little endian.
    Fixed64(u64) = 1,
    /// Wire type 2: a string, bytes, a message or packed scalars.
    Bytes(&'a [u8]) = 2,
    /// Wire types 3 and 4: a group, without its tags. OTLP has none; kept as unknown fields.
    Group(&'a [u8]) = 3,
    /// Wire type 5, little endian.
    Fixed32(u32) = 5,
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field, else nothing.
    #[inline]
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The wire type that the value was written with.
    #[inline]
    pub const fn wire_type(self) -> u8 {
        match self {
            Value::Varint(_) => 0,
            Value::Fixed64(_) => 1,
            Value::Bytes(_) => 2,
            Value::Group(_) => 3,
            Value::Fixed32(_) => 5,
        }
    }
}

/// How deep groups may nest before the message counts as malformed.
const MAX_GROUP_DEPTH: u32 = 64;

/// Reads the fields of one message, in their order on the wire.
///
/// Ends at the end of the message or at the first byte that breaks the framing;
/// [`Fields::is_malformed`] tells which.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Fields<'a> {
    /// Reads `message`, which is a message's content without its own tag and length.
    #[inline]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message, malformed: false }
    }

    /// How many bytes are left behind the fields that were read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The content of the next field, if it has this tag of one byte, is length-delimited and
    /// shorter than 16 KiB.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each attribute of each span")]
    pub(super) fn next_tagged(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (content, rest) = split_tagged(self.rest, tag)?;
        self.rest = rest;
        Some(content)
    }

    /// The value of the next field, if it is a varint below 128 with this tag of one byte.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each span")]
    pub(super) fn next_small(&mut self, tag: u8) -> Option<u8> {
        let [found, value @ ..0x80, rest @ ..] = self.rest else { return None };
        (*found == tag).then(|| {
            self.rest = rest;
            *value
        })
    }

    /// The value of the next field, if it is of 64 bits with this tag of one byte.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each span")]
    pub(super) fn next_fixed64(&mut self, tag: u8) -> Option<u64> {
        let [found, rest @ ..] = self.rest else { return None };
        let (value, rest) = rest.split_first_chunk::<8>().filter(|_| *found == tag)?;
        self.rest = rest;
        Some(u64::from_le_bytes(*value))
    }

    /// The value of the next field, if it is of 32 bits with this tag of two bytes.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each span")]
    pub(super) fn next_fixed32(&mut self, tag: [u8; 2]) -> Option<u32> {
        let (found, rest) = self.rest.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_first_chunk::<4>().filter(|_| *found == tag)?;
        self.rest = rest;
        Some(u32::from_le_bytes(*value))
    }

    /// Passes over the fields that follow with this tag of one byte, as long as they are
    /// length-delimited and shorter than 16 KiB; tells how many they were.
    #[inline]
    pub(super) fn skip_run(&mut self, tag: u8) -> u32 {
        let (mut rest, mut count) = (self.rest, 0);
        while let Some((_, after)) = split_tagged(rest, tag) {
            (rest, count) = (after, count + 1);
        }
        self.rest = rest;
        count
    }

    /// Whether the iteration ended because the framing was broken.
    #[inline]
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the hot loop of all readers; a call costs as much")]
    fn next(&mut self) -> Option<Field<'a>> {
        let input = self.rest;
        if input.is_empty() {
            return None;
        }
        // The slow way is told what is left, not where it is kept: so that stays in registers,
        // and no field waits for the one before it to be written to memory.
        match quick_field(input).or_else(|| field_of_any_form(input)) {
            Some((field, rest)) => {
                self.rest = rest;
                Some(field)
            }
            None => {
                self.malformed = true;
                self.rest = &[];
                None
            }
        }
    }
}

/// Reads a field of the forms that almost all have: a tag of one or two bytes, small integers, 32
/// or 64 bits, lengths below 16 KiB. The rest is for [`field_of_any_form`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "the hot loop of all readers; a call costs as much")]
fn quick_field(input: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (tag, after) = match input {
        [tag, after @ ..] if *tag < 0x80 => (u32::from(*tag), after),
        [low, high, after @ ..] if *high < 0x80 => {
            (u32::from(low & 0x7f) | u32::from(*high) << 7, after)
        }
        _ => return None,
    };
    let (value, rest) = match (tag & 7, after) {
        (0, [value, rest @ ..]) if *value < 0x80 => (Value::Varint((*value).into()), rest),
        (1, _) => {
            let (value, rest) = after.split_first_chunk::<8>()?;
            (Value::Fixed64(u64::from_le_bytes(*value)), rest)
        }
        (2, _) => {
            let (length, rest) = match after {
                [length, rest @ ..] if *length < 0x80 => (usize::from(*length), rest),
                [low, high, rest @ ..] if *high < 0x80 => {
                    (usize::from(low & 0x7f) | usize::from(*high) << 7, rest)
                }
                _ => return None,
            };
            let (value, rest) = rest.split_at_checked(length)?;
            (Value::Bytes(value), rest)
        }
        (5, _) => {
            let (value, rest) = after.split_first_chunk::<4>()?;
            (Value::Fixed32(u32::from_le_bytes(*value)), rest)
        }
        _ => return None,
    };
    let number = tag >> 3;
    let raw = input.get(..input.len() - rest.len())?;
    (number > 0).then_some((Field { number, value, raw }, rest))
}

/// Reads a length-delimited field with this tag of one byte: its content, and what is behind it.
#[inline(always)]
#[allow(clippy::inline_always, reason = "runs for each attribute of each span")]
fn split_tagged(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    debug_assert!(tag < 0x80 && tag & 7 == 2, "a tag of one byte, and length-delimited");
    let [found, after @ ..] = input else { return None };
    if *found != tag {
        return None;
    }
    match after {
        [length @ ..0x80, rest @ ..] => rest.split_at_checked(usize::from(*length)),
        [low, high @ ..0x80, rest @ ..] => {
            rest.split_at_checked(usize::from(low & 0x7f) | usize::from(*high) << 7)
        }
        _ => None,
    }
}

#[inline(never)]
fn field_of_any_form(input: &[u8]) -> Option<(Field<'_>, &[u8])> {
    read_field(input, 0)
}

/// Reads one field off the front of `input`; `None` when the framing is broken.
#[inline]
fn read_field(input: &[u8], depth: u32) -> Option<(Field<'_>, &[u8])> {
    let (tag, after_tag) = read_varint(input)?;
    let number = u32::try_from(tag).ok()? >> 3;
    if number == 0 {
        return None;
    }
    let (value, rest) = match tag & 7 {
        0 => {
            let (value, rest) = read_varint(after_tag)?;
            (Value::Varint(value), rest)
        }
        1 => {
            let (value, rest) = after_tag.split_first_chunk::<8>()?;
            (Value::Fixed64(u64::from_le_bytes(*value)), rest)
        }
        2 => {
            let (length, rest) = read_varint(after_tag)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Value::Bytes(value), rest)
        }
        3 => read_group(after_tag, number, depth)?,
        5 => {
            let (value, rest) = after_tag.split_first_chunk::<4>()?;
            (Value::Fixed32(u32::from_le_bytes(*value)), rest)
        }
        _ => return None,
    };
    let raw = input.get(..input.len() - rest.len())?;
    Some((Field { number, value, raw }, rest))
}

/// Reads a group's fields up to its end tag.
#[cold]
fn read_group(input: &[u8], number: u32, depth: u32) -> Option<(Value<'_>, &[u8])> {
    if depth == MAX_GROUP_DEPTH {
        return None;
    }
    let end_tag = u64::from(number) << 3 | 4;
    let mut rest = input;
    loop {
        let (tag, after_tag) = read_varint(rest)?;
        if tag == end_tag {
            let content = input.get(..input.len() - rest.len())?;
            return Some((Value::Group(content), after_tag));
        }
        rest = read_field(rest, depth + 1)?.1;
    }
}

/// Reads a base-128 varint of at most ten bytes.
#[inline]
pub fn read_varint(input: &[u8]) -> Option<(u64, &[u8])> {
    match input {
        [first, rest @ ..] if *first < 0x80 => Some((u64::from(*first), rest)),
        [first, second, rest @ ..] if *second < 0x80 => {
            Some((u64::from(*first & 0x7f) | u64::from(*second) << 7, rest))
        }
        _ => read_long_varint(input),
    }
}

fn read_long_varint(input: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in input.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None; // more than 64 bits
        }
        value |= bits << (7 * index);
        if *byte < 0x80 {
            return Some((value, input.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: &[(u32, Value<'_>)], malformed: bool) {
        let mut fields = Fields::new(input);
        let read: Vec<_> = fields.by_ref().map(|field| (field.number, field.value)).collect();
        assert_eq!(read, expected);
        assert_eq!(fields.is_malformed(), malformed);
    }

    #[test]
    fn every_wire_type_is_read() {
        check(&[0x08, 0x96, 0x01], &[(1, Value::Varint(150))], false);
        check(&[0x39, 1, 0, 0, 0, 0, 0, 0, 0], &[(7, Value::Fixed64(1))], false);
        check(&[0x12, 2, b'h', b'i'], &[(2, Value::Bytes(b"hi"))], false);
        check(&[0x85, 0x01, 2, 0, 0, 0], &[(16, Value::Fixed32(2))], false);
        check(&[0x0b, 0x10, 0x01, 0x0c], &[(1, Value::Group(&[0x10, 0x01]))], false);
    }

    #[test]
    fn a_broken_message_ends_early_and_says_so() {
        check(&[0x08], &[], true); // no value
        check(&[0x12, 3, b'h', b'i'], &[], true); // longer than the message
        check(&[0x08, 1, 0x00, 1], &[(1, Value::Varint(1))], true); // field number 0
        check(&[0x0e, 1], &[], true); // wire type 6
        check(&[0x0c], &[], true); // end of a group that never began
        check(&[0x0b, 0x10, 0x01], &[], true); // group without an end
        check(&[0xff; 11], &[], true); // varint of eleven bytes
    }

    #[test]
    fn groups_nest_only_so_deep() {
        let mut nested = vec![0x0b; 200];
        nested.extend([0x0c; 200]);
        check(&nested, &[], true);
    }

    #[test]
    fn a_run_of_like_fields_is_passed_over() {
        let mut message = [&[0x4a, 1, b'x', 0x4a, 0][..], &[0x4a, 0x80, 1]].concat();
        message.extend([b'y'; 128]);
        let run = message.len();
        message.extend([0x52, 0, 0x4a, 0]);
        let mut fields = Fields::new(&message);
        assert_eq!((fields.skip_run(0x4a), fields.remaining()), (3, message.len() - run));
        assert_eq!(fields.skip_run(0x4a), 0);
        assert_eq!(fields.next().map(|field| field.number), Some(10));
        assert_eq!((fields.skip_run(0x4a), fields.remaining()), (1, 0));
        // What is broken, or longer, is left to be read.
        for rest in [&[0x4a][..], &[0x4a, 2, b'x'], &[0x4a, 0x80], &[0x4a, 0x80, 0x80, 1]] {
            let mut fields = Fields::new(rest);
            assert_eq!((fields.skip_run(0x4a), fields.remaining()), (0, rest.len()));
            assert_eq!((fields.next(), fields.is_malformed()), (None, true));
        }
    }

    #[test]
    fn a_varint_holds_at_most_64_bits() {
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read_varint(&max), Some((u64::MAX, &[][..])));
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(read_varint(&over), None);
    }
}
