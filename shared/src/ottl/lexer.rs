//! Cuts a text into tokens.
//!
//! Source: contrib pkg/ottl/grammar.go (`buildLexer`). An identifier is one token here, whatever
//! its case; the parser tells paths, functions and enums apart.

use super::error::ParseError;

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Byte offset in the text.
    pub(super) start: usize,
    /// Byte offset behind the token.
    pub(super) end: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// A word that is no keyword, or a lone underscore.
    Word(Box<str>),
    Text(Box<str>),
    Int(i64),
    Double(f64),
    Bytes(Box<[u8]>),
    Nil,
    True,
    False,
    Not,
    And,
    Or,
    /// Anything of punctuation: operators, brackets, `=>`.
    Sign(&'static str),
    End,
}

impl TokenKind {
    /// The token as an error message names it.
    pub(super) fn describe(&self) -> String {
        match self {
            TokenKind::Word(word) => format!("\"{word}\""),
            TokenKind::Text(_) => "a string".to_owned(),
            TokenKind::Int(number) => format!("{number}"),
            TokenKind::Double(number) => format!("{number}"),
            TokenKind::Bytes(_) => "bytes".to_owned(),
            TokenKind::Nil => "\"nil\"".to_owned(),
            TokenKind::True => "\"true\"".to_owned(),
            TokenKind::False => "\"false\"".to_owned(),
            TokenKind::Not => "\"not\"".to_owned(),
            TokenKind::And => "\"and\"".to_owned(),
            TokenKind::Or => "\"or\"".to_owned(),
            TokenKind::Sign(sign) => format!("\"{sign}\""),
            TokenKind::End => "the end".to_owned(),
        }
    }
}

/// Longest first, so that `==` is not read as `=` and `=`.
const SIGNS: [&str; 22] = [
    "==", "!=", ">=", "<=", "=>", ">", "<", "=", "+", "-", "*", "/", "(", ")", "[", "]", "{", "}",
    ",", ".", ":", "_",
];

/// The tokens of `text`, with an [`TokenKind::End`] behind them.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let start = text.len() - rest.len();
        let (kind, length) = next(rest, start)?;
        tokens.push(Token { kind, start, end: start + length });
        rest = rest.get(length..).unwrap_or_default().trim_start_matches(is_space);
    }
    tokens.push(Token { kind: TokenKind::End, start: text.len(), end: text.len() });
    Ok(tokens)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// Reads the token at the front of `rest`, which is not empty, and tells its length.
fn next(rest: &str, start: usize) -> Result<(TokenKind, usize), ParseError> {
    let bytes = rest.as_bytes();
    let digit_follows = bytes.get(1).is_some_and(u8::is_ascii_digit);
    match bytes {
        [b'"', ..] => text(rest, start),
        [b'0', b'x', next, ..] if next.is_ascii_hexdigit() => hex(rest, start),
        [b'0'..=b'9', ..] => number(rest, start),
        [b'.', ..] if digit_follows => number(rest, start),
        [b'a'..=b'z' | b'A'..=b'Z', ..] => Ok(word(rest)),
        _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(&"_") => Ok((TokenKind::Word("_".into()), 1)),
            Some(sign) => Ok((TokenKind::Sign(sign), sign.len())),
            None => Err(unknown_sign(rest, start)),
        },
    }
}

fn unknown_sign(rest: &str, start: usize) -> ParseError {
    let sign = rest.chars().next().unwrap_or_default();
    let hint = match sign {
        '&' => ", did you mean \"and\"?".to_owned(),
        '|' => ", did you mean \"or\"?".to_owned(),
        '!' => ", did you mean \"not\"?".to_owned(),
        '\'' | '`' => ": strings stand in double quotes".to_owned(),
        _ => String::new(),
    };
    ParseError::new(start, sign.len_utf8(), format!("unexpected {sign:?}{hint}"))
}

fn word(rest: &str) -> (TokenKind, usize) {
    let length = length_of(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let word = rest.get(..length).unwrap_or_default();
    let kind = match word {
        "nil" => TokenKind::Nil,
        "true" => TokenKind::True,
        "false" => TokenKind::False,
        "not" => TokenKind::Not,
        "and" => TokenKind::And,
        "or" => TokenKind::Or,
        _ => TokenKind::Word(word.into()),
    };
    (kind, length)
}

fn length_of(rest: &str, belongs: impl Fn(u8) -> bool) -> usize {
    rest.bytes().position(|byte| !belongs(byte)).unwrap_or(rest.len())
}

fn hex(rest: &str, start: usize) -> Result<(TokenKind, usize), ParseError> {
    let digits = rest.get(2..).unwrap_or_default();
    let length = length_of(digits, |byte| byte.is_ascii_hexdigit());
    let digits = digits.get(..length).unwrap_or_default();
    match decode_hex(digits.as_bytes()) {
        Some(bytes) => Ok((TokenKind::Bytes(bytes.into()), 2 + length)),
        None => Err(ParseError::new(start, 2 + length, "bytes need an even number of hex digits")),
    }
}

/// Reads pairs of hex digits.
pub(super) fn decode_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    pairs.iter().map(|[high, low]| u8::try_from(nibble(*high)? << 4 | nibble(*low)?).ok()).collect()
}

/// A float has a point and digits on at least one side of it; only then an exponent may follow.
fn number(rest: &str, start: usize) -> Result<(TokenKind, usize), ParseError> {
    let digits =
        |from: usize| length_of(rest.get(from..).unwrap_or_default(), |byte| byte.is_ascii_digit());
    let whole = digits(0);
    if rest.as_bytes().get(whole) != Some(&b'.') {
        let digits = rest.get(..whole).unwrap_or_default();
        return match integer(digits) {
            Some(number) => Ok((TokenKind::Int(number), whole)),
            None => Err(ParseError::new(start, whole, format!("{digits} is no 64-bit integer"))),
        };
    }
    let mut length = whole + 1 + digits(whole + 1);
    if let Some(b'e' | b'E') = rest.as_bytes().get(length) {
        let sign = usize::from(matches!(rest.as_bytes().get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    let digits = rest.get(..length).unwrap_or_default();
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((TokenKind::Double(number), length)),
        _ => Err(ParseError::new(start, length, format!("{digits} does not fit a double"))),
    }
}

/// As Go's `ParseInt` with base 0 has it: a leading zero makes the number octal.
fn integer(digits: &str) -> Option<i64> {
    match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => i64::from_str_radix(octal, 8).ok(),
        _ => digits.parse().ok(),
    }
}

/// Reads a string in double quotes, with Go's escapes.
fn text(rest: &str, start: usize) -> Result<(TokenKind, usize), ParseError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((TokenKind::Text(text.into()), at + 1)),
            '\\' => {
                let escape = rest.get(at + 1..).unwrap_or_default();
                let Some((unescaped, length)) = unescape(escape) else {
                    return Err(bad_escape(escape, start + at));
                };
                text.push(unescaped);
                // The escapes are ASCII, so a byte is a character.
                for _ in 0..length {
                    chars.next();
                }
            }
            _ => text.push(c),
        }
    }
    Err(ParseError::new(start, rest.len(), "this string has no end"))
}

fn bad_escape(escape: &str, at: usize) -> ParseError {
    let Some(c) = escape.chars().next() else {
        return ParseError::new(at, 1, "this string has no end");
    };
    let message = format!("unknown escape \"\\{c}\", write \"\\\\{c}\" for a backslash and {c:?}");
    ParseError::new(at, 1 + c.len_utf8(), message)
}

/// Reads what stands behind a backslash, and tells how many bytes that are.
///
/// `\xff` is the character U+00FF and not the byte, as the Collector's parser has it.
fn unescape(escape: &str) -> Option<(char, usize)> {
    let coded = |from: usize, digits: usize, radix: u32| {
        let code = escape.get(from..from + digits)?;
        if !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None; // `from_str_radix` would take a sign
        }
        Some((char::from_u32(u32::from_str_radix(code, radix).ok()?)?, from + digits))
    };
    let plain = |c: char| Some((c, 1));
    match escape.as_bytes().first()? {
        b'a' => plain('\x07'),
        b'b' => plain('\x08'),
        b'f' => plain('\x0c'),
        b'n' => plain('\n'),
        b'r' => plain('\r'),
        b't' => plain('\t'),
        b'v' => plain('\x0b'),
        b'\\' => plain('\\'),
        b'"' => plain('"'),
        b'x' => coded(1, 2, 16),
        b'u' => coded(1, 4, 16),
        b'U' => coded(1, 8, 16),
        b'0'..=b'3' => coded(0, 3, 8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[TokenKind]) {
        let tokens: Vec<_> = tokens(text).unwrap().into_iter().map(|token| token.kind).collect();
        assert_eq!(tokens.split_last().unwrap(), (&TokenKind::End, expected));
    }

    #[track_caller]
    fn check_error(text: &str, offset: usize, message: &str) {
        let error = tokens(text).unwrap_err();
        assert_eq!((error.offset, error.message.as_str()), (offset, message));
    }

    #[test]
    fn numbers_are_read_as_the_collector_reads_them() {
        check("1 010 0", &[TokenKind::Int(1), TokenKind::Int(8), TokenKind::Int(0)]);
        check("1. .5 2.5e-1", &[1.0, 0.5, 0.25].map(TokenKind::Double));
        check("1e5", &[TokenKind::Int(1), TokenKind::Word("e5".into())]);
        check("0x0aFF", &[TokenKind::Bytes([0x0a, 0xff].into())]);
        check_error(" 0x123", 1, "bytes need an even number of hex digits");
        check_error("9223372036854775808", 0, "9223372036854775808 is no 64-bit integer");
        check_error("08", 0, "08 is no 64-bit integer");
        check_error("1.0e999", 0, "1.0e999 does not fit a double");
    }

    #[test]
    fn strings_have_gos_escapes() {
        check(r#""a\n\"\\\u00e9\x41\101""#, &[TokenKind::Text("a\n\"\\éAA".into())]);
        check("\"two\nlines\"", &[TokenKind::Text("two\nlines".into())]);
        check_error(
            r#"x == "\d+""#,
            6,
            r#"unknown escape "\d", write "\\d" for a backslash and 'd'"#,
        );
        check_error(r#""abc"#, 0, "this string has no end");
        check_error(r#""abc\"#, 4, "this string has no end");
        check_error(
            r#""\u+123""#,
            1,
            r#"unknown escape "\u", write "\\u" for a backslash and 'u'"#,
        );
    }

    #[test]
    fn signs_of_other_languages_get_a_hint() {
        check_error("a && b", 2, "unexpected '&', did you mean \"and\"?");
        check_error("a || b", 2, "unexpected '|', did you mean \"or\"?");
        check_error("!a", 0, "unexpected '!', did you mean \"not\"?");
        check_error("name == 'x'", 8, "unexpected '\\'': strings stand in double quotes");
        check_error("ünnamed", 0, "unexpected 'ü'");
    }
}
