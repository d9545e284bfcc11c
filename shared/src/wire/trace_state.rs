//! W3C `tracestate`, read in place, and OpenTelemetry's member `ot` in it.
//!
//! ```text
//! ot=th:8;rv:0123456789abcd,vendor=anything
//! ```
//! `th` is the share of all traces that was rejected before this one was kept, `rv` the randomness
//! that was held against it, both in parts of 2^56; trailing zeros of `th` are left out.
//!
//! Source: W3C Trace Context level 2; OpenTelemetry specification on
//! probability sampling by trace state; contrib pkg/sampling; opentelemetry-go trace/tracestate.go.

/// Digits of a threshold or of randomness, of 4 bits each.
const DIGITS: usize = 14;
/// Members that a trace state may have.
const MAX_MEMBERS: usize = 32;
/// Bytes of a trace state whose member `ot` is read.
const MAX_LENGTH: usize = 1024;
/// Bytes of a key or a value; of the member `ot` too.
const MAX_TEXT: usize = 256;
/// Bytes of a key's part before the `@`, if it has one.
const MAX_TENANT: usize = 241;
/// Bytes of the part behind it.
const MAX_SYSTEM: usize = 14;

/// A key with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Who wrote it.
    pub key: &'a [u8],
    /// What it says.
    pub value: &'a [u8],
}

/// Reads the members of a trace state, in their order; blank ones are passed over.
///
/// Ends at the end or at the first member that breaks the grammar; [`Members::is_malformed`] tells
/// which.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Members<'a> {
    /// Reads `trace_state`.
    pub fn new(trace_state: &'a [u8]) -> Self {
        Self { rest: trace_state, malformed: false }
    }

    /// Whether the iteration ended because the grammar was broken.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        while !self.rest.is_empty() {
            let (piece, rest) = cut(self.rest, b',').unwrap_or((self.rest, &[]));
            self.rest = rest;
            let text = trim(piece);
            if text.is_empty() {
                continue;
            }
            let member = cut(text, b'=').filter(|(key, value)| is_key(key) && is_value(value));
            match member {
                Some((key, value)) => return Some(Member { key, value }),
                None => {
                    self.malformed = true;
                    self.rest = &[];
                }
            }
        }
        None
    }
}

/// A trace state is no valid one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// The value of `key`, unless there is none.
///
/// # Errors
/// When the trace state is no valid one: broken grammar anywhere, more than 32 members, a key that
/// occurs twice, or a member of blanks. It says nothing then.
pub fn get<'a>(trace_state: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, Invalid> {
    let is_blank = |piece: &[u8]| !piece.is_empty() && trim(piece).is_empty();
    if trace_state.split(|byte| *byte == b',').any(is_blank) {
        return Err(Invalid);
    }
    let mut seen: [&[u8]; MAX_MEMBERS] = [&[]; MAX_MEMBERS];
    let mut found = None;
    let mut members = Members::new(trace_state);
    for (index, member) in members.by_ref().enumerate() {
        let known = seen.get(..index).ok_or(Invalid)?;
        if known.contains(&member.key) {
            return Err(Invalid);
        }
        *seen.get_mut(index).ok_or(Invalid)? = member.key;
        if member.key == key {
            found = Some(member.value);
        }
    }
    if members.is_malformed() { Err(Invalid) } else { Ok(found) }
}

/// What the member `ot` says of sampling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Otel<'a> {
    /// `rv`: the randomness of the trace where it does not come from its id.
    pub randomness: Option<u64>,
    /// `th`: traces of less randomness were rejected.
    pub threshold: Option<u64>,
    /// The whole value; empty when there is no such member.
    value: &'a [u8],
}

impl<'a> Otel<'a> {
    /// Reads it out of a trace state; of a member that occurs twice the last one counts. Nothing
    /// when the trace state or the member cannot be read.
    pub fn read(trace_state: &'a [u8]) -> Option<Self> {
        if trace_state.len() > MAX_LENGTH {
            return None;
        }
        if trace_state.split(|byte| *byte == b',').count() >= MAX_MEMBERS {
            return None;
        }
        let mut otel = Otel::default();
        let mut members = Members::new(trace_state);
        for member in members.by_ref() {
            if member.key == b"ot" {
                otel = Otel::read_value(member.value)?;
            }
        }
        (!members.is_malformed()).then_some(otel)
    }

    fn read_value(value: &'a [u8]) -> Option<Self> {
        if value.len() > MAX_TEXT {
            return None;
        }
        let mut otel = Otel { value, ..Otel::default() };
        for field in value.split(|byte| *byte == b';') {
            let (key, text) = cut(field, b':')?;
            let (first, others) = key.split_first()?;
            let is_valid = first.is_ascii_lowercase()
                && others.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
                && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
            if !is_valid {
                return None;
            }
            match key {
                b"rv" => otel.randomness = Some(randomness_in(text)?),
                b"th" => otel.threshold = Some(threshold_of(text)?),
                _ => {}
            }
        }
        Some(otel)
    }

    /// Appends the member with this randomness and threshold; what is `None` stays as it is.
    fn put(&self, randomness: Option<u64>, threshold: Option<u64>, text: &mut Vec<u8>) {
        let fields = || self.value.split(|byte| *byte == b';').filter(|field| !field.is_empty());
        let is = |field: &[u8], key: &[u8]| field.starts_with(key);
        let known = |key| fields().rfind(|field| is(field, key));
        text.extend_from_slice(b"ot=");
        let start = text.len();
        match (randomness, known(b"rv:")) {
            (Some(randomness), _) => {
                text.extend_from_slice(b"rv:");
                put_randomness(randomness, text);
            }
            (None, Some(field)) => text.extend_from_slice(field),
            (None, None) => {}
        }
        let separate = |text: &mut Vec<u8>| {
            if text.len() > start {
                text.push(b';');
            }
        };
        match (threshold, known(b"th:")) {
            (Some(threshold), _) => {
                separate(text);
                text.extend_from_slice(b"th:");
                put_threshold(threshold, text);
            }
            (None, Some(field)) => {
                separate(text);
                text.extend_from_slice(field);
            }
            (None, None) => {}
        }
        for field in fields().filter(|field| !is(field, b"rv:") && !is(field, b"th:")) {
            separate(text);
            text.extend_from_slice(field);
        }
    }

    /// Says in `text` what `trace_state`, from which this was read, becomes with this randomness
    /// and threshold; what is `None` stays as it is. The member `ot` moves to the front, as members
    /// that change do; the others stay as they are.
    pub fn write(
        &self,
        trace_state: &[u8],
        randomness: Option<u64>,
        threshold: Option<u64>,
        text: &mut Vec<u8>,
    ) {
        text.clear();
        if !self.value.is_empty() || randomness.is_some() || threshold.is_some() {
            self.put(randomness, threshold, text);
        }
        for member in Members::new(trace_state).filter(|member| member.key != b"ot") {
            if !text.is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(member.key);
            text.push(b'=');
            text.extend_from_slice(member.value);
        }
    }
}

/// What became of a trace state whose threshold was to be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// It was: the text holds the new trace state.
    Yes,
    /// The trace state has as high a threshold already.
    Already,
    /// It cannot be read.
    Unreadable,
}

/// Says in `text` what `trace_state` becomes when `th` is to be `threshold` or more. The member
/// `ot` moves to the front, as members that change do; the others stay as they are.
pub fn raise_threshold(trace_state: &[u8], threshold: u64, text: &mut Vec<u8>) -> Raised {
    let Some(otel) = Otel::read(trace_state) else { return Raised::Unreadable };
    if otel.threshold.is_some_and(|known| known >= threshold) {
        return Raised::Already;
    }
    otel.write(trace_state, None, Some(threshold), text);
    Raised::Yes
}

/// The randomness of a trace id: its last 56 bits.
pub fn randomness_of(trace_id: &[u8; 16]) -> u64 {
    let [_, _, _, _, _, _, _, _, end @ ..] = *trace_id;
    u64::from_be_bytes(end) & ((1 << (4 * DIGITS)) - 1)
}

/// Reads the digits of a threshold, whose trailing zeros may be left out.
pub fn threshold_of(digits: &[u8]) -> Option<u64> {
    let missing = DIGITS.checked_sub(digits.len()).filter(|missing| *missing < DIGITS)?;
    Some(hexadecimal(digits)? << (4 * missing))
}

/// Reads the digits of a randomness; all must be there.
pub fn randomness_in(digits: &[u8]) -> Option<u64> {
    if digits.len() == DIGITS { hexadecimal(digits) } else { None }
}

/// Appends the digits of a randomness.
pub fn put_randomness(randomness: u64, text: &mut Vec<u8>) {
    for digit in (0..DIGITS).rev() {
        text.push(hex_digit(randomness >> (4 * digit)));
    }
}

fn hex_digit(bits: u64) -> u8 {
    b"0123456789abcdef"[usize::try_from(bits & 0xf).expect("4 bits fit")]
}

/// Appends the digits of a threshold without trailing zeros; of 0 there is one.
pub fn put_threshold(threshold: u64, text: &mut Vec<u8>) {
    let mut rest = threshold;
    loop {
        text.push(hex_digit(rest >> (4 * (DIGITS - 1))));
        rest = rest << 4 & ((1 << (4 * DIGITS)) - 1);
        if rest == 0 {
            break;
        }
    }
}

/// At most 16 digits of either case.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        char::from(*digit).to_digit(16).map(|digit| number << 4 | u64::from(digit))
    })
}

/// What stands before the first `separator` and behind it.
fn cut(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..place], &text[place + 1..]))
}

/// Without the spaces and tabs around it.
fn trim(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    &text[start..end]
}

fn is_key(key: &[u8]) -> bool {
    let are_inner = |bytes: &[u8]| {
        let is_inner = |byte: &u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(byte)
        };
        bytes.iter().all(is_inner)
    };
    if key.len() > MAX_TEXT {
        return false;
    }
    match cut(key, b'@') {
        None => {
            matches!(key, [first, inner @ ..] if first.is_ascii_lowercase() && are_inner(inner))
        }
        Some(([first, tenant @ ..], [start, system @ ..])) => {
            (first.is_ascii_lowercase() || first.is_ascii_digit())
                && start.is_ascii_lowercase()
                && tenant.len() < MAX_TENANT
                && system.len() < MAX_SYSTEM
                && are_inner(tenant)
                && are_inner(system)
        }
        Some(_) => false,
    }
}

/// A value has no blank at its end, which was trimmed.
fn is_value(value: &[u8]) -> bool {
    let is_valid = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b',' | b'=');
    (1..=MAX_TEXT).contains(&value.len()) && value.iter().all(is_valid)
}

#[cfg(test)]
mod tests;
