//! Functions about strings.

use super::types::Kind;
use super::{Argument, Call, Env, EvalError, Function, Prepared, function, optional, parameter};
use crate::ottl::value::{List, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "Concat",
        &[parameter("vals", Kind::Many(&Kind::TextLike)), parameter("delimiter", Kind::Text)],
        concat,
    ),
    function(
        "Substring",
        &[
            parameter("target", Kind::Text),
            parameter("start", Kind::Int),
            parameter("length", Kind::Int),
            optional("utf8_safe", Kind::LiteralBool),
        ],
        substring,
    ),
    function(
        "Split",
        &[parameter("target", Kind::Text), parameter("delimiter", Kind::Text)],
        split,
    ),
    function(
        "HasPrefix",
        &[parameter("target", Kind::Text), parameter("prefix", Kind::Text)],
        |call, env| {
            let (text, prefix) = (call.text(0, env)?, call.text(1, env)?);
            Ok(Value::Bool(text.as_bytes().starts_with(prefix.as_bytes())))
        },
    ),
    function(
        "HasSuffix",
        &[parameter("target", Kind::Text), parameter("suffix", Kind::Text)],
        |call, env| {
            let (text, suffix) = (call.text(0, env)?, call.text(1, env)?);
            Ok(Value::Bool(text.as_bytes().ends_with(suffix.as_bytes())))
        },
    ),
    function("ToLowerCase", &[parameter("target", Kind::Text)], |call, env| {
        Ok(Value::Text(change_case(call.text(0, env)?, Case::Lower)))
    }),
    function("ToUpperCase", &[parameter("target", Kind::Text)], |call, env| {
        Ok(Value::Text(change_case(call.text(0, env)?, Case::Upper)))
    }),
    function("ToSnakeCase", &[parameter("target", Kind::Text)], |call, env| {
        Ok(Value::Text(change_case(call.text(0, env)?, Case::Snake)))
    }),
    function("ToCamelCase", &[parameter("target", Kind::Text)], |call, env| {
        Ok(Value::Text(change_case(call.text(0, env)?, Case::Camel)))
    }),
    function(
        "ConvertCase",
        &[parameter("target", Kind::Text), parameter("to_case", Kind::LiteralText)],
        |call, env| {
            let text = call.text(0, env)?;
            let case = Case::named(call.text(1, env)?.as_bytes());
            let case = case.ok_or(EvalError::fixed("there is no such case"))?;
            Ok(Value::Text(change_case(text, case)))
        },
    )
    .prepared_by(check_case),
    function(
        "Trim",
        &[parameter("target", Kind::Text), optional("replacement", Kind::LiteralText)],
        trim,
    ),
    function(
        "TrimPrefix",
        &[parameter("target", Kind::Text), parameter("prefix", Kind::Text)],
        |call, env| {
            let (text, prefix) = (call.text(0, env)?, call.text(1, env)?);
            let length = text.as_bytes().len();
            Ok(Value::Text(match text.as_bytes().starts_with(prefix.as_bytes()) {
                true => text.slice(prefix.as_bytes().len(), length),
                false => text,
            }))
        },
    ),
    function(
        "TrimSuffix",
        &[parameter("target", Kind::Text), parameter("suffix", Kind::Text)],
        |call, env| {
            let (text, suffix) = (call.text(0, env)?, call.text(1, env)?);
            let length = text.as_bytes().len();
            Ok(Value::Text(match text.as_bytes().ends_with(suffix.as_bytes()) {
                true => text.slice(0, length - suffix.as_bytes().len()),
                false => text,
            }))
        },
    ),
];

/// Nil is joined as `<nil>`.
fn concat<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let delimiter = call.text(1, env)?;
    let mut joined = Vec::new();
    for (index, value) in call.many(0).iter().enumerate() {
        if index > 0 {
            joined.extend_from_slice(delimiter.as_bytes());
        }
        match super::types::text_like(value.evaluate(env)?)? {
            Some(text) => joined.extend_from_slice(text.as_bytes()),
            None => joined.extend_from_slice(b"<nil>"),
        }
    }
    Ok(Value::Text(Text::Owned(joined)))
}

/// Counts bytes; `utf8_safe` moves both ends to where characters start.
fn substring<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let start = usize::try_from(call.int(1, env)?)
        .map_err(|_| EvalError::fixed("the start must not be negative"))?;
    let Ok(length @ 1..) = usize::try_from(call.int(2, env)?) else {
        return Err(EvalError::fixed("the length must be positive"));
    };
    let text = call.text(0, env)?;
    let bytes = text.as_bytes();
    let end = match start.checked_add(length) {
        Some(end) if end <= bytes.len() => end,
        _ => return Err(EvalError::fixed("the string ends before the substring does")),
    };
    if !matches!(call.value(3, env)?, Value::Bool(true)) {
        return Ok(Value::Text(text.slice(start, end)));
    }
    let inside = |index: usize| bytes.get(index).is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut safe_start = start;
    while inside(safe_start) {
        safe_start += 1;
    }
    let mut safe_end = end;
    while safe_end > safe_start && inside(safe_end) {
        safe_end -= 1;
    }
    Ok(Value::Text(text.slice(safe_start, safe_end.max(safe_start))))
}

/// An empty delimiter splits into characters.
fn split<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let text = call.text(0, env)?;
    let delimiter = call.text(1, env)?;
    let (bytes, delimiter) = (text.as_bytes(), delimiter.as_bytes());
    let mut parts = Vec::new();
    let mut start = 0;
    if delimiter.is_empty() {
        let is_start = |index: &usize| bytes.get(*index).is_none_or(|byte| byte & 0xc0 != 0x80);
        for end in (1..=bytes.len()).filter(is_start) {
            parts.push(text.clone().slice(start, end));
            start = end;
        }
    } else {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..)
            && !rest.is_empty()
        {
            if rest.starts_with(delimiter) {
                parts.push(text.clone().slice(start, at));
                at += delimiter.len();
                start = at;
            } else {
                at += 1;
            }
        }
        parts.push(text.clone().slice(start, bytes.len()));
    }
    Ok(Value::List(List::Items(parts.into_iter().map(Value::Text).collect())))
}

/// Takes the characters of `replacement`, or spaces, off both ends.
fn trim<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let text = call.text(0, env)?;
    let cut = match call.has(1) {
        true => call.text(1, env)?,
        false => Text::Borrowed(b" "),
    };
    let cut = cut.to_str();
    let (start, end) = match str::from_utf8(text.as_bytes()) {
        Ok(text) => {
            let rest = text.trim_start_matches(|c| cut.contains(c));
            let start = text.len() - rest.len();
            (start, start + rest.trim_end_matches(|c| cut.contains(c)).len())
        }
        Err(_) => {
            // Not UTF-8: only ASCII can be taken off.
            let is_cut = |byte: &u8| byte.is_ascii() && cut.as_bytes().contains(byte);
            let bytes = text.as_bytes();
            let start = bytes.iter().position(|byte| !is_cut(byte)).unwrap_or(bytes.len());
            let end = bytes.iter().rposition(|byte| !is_cut(byte)).map_or(start, |last| last + 1);
            (start, end)
        }
    };
    Ok(Value::Text(text.slice(start, end)))
}

#[derive(Clone, Copy)]
enum Case {
    Lower,
    Upper,
    Snake,
    Camel,
}

impl Case {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"lower" => Some(Case::Lower),
            b"upper" => Some(Case::Upper),
            b"snake" => Some(Case::Snake),
            b"camel" => Some(Case::Camel),
            _ => None,
        }
    }
}

fn check_case(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    match arguments.get(1).and_then(Argument::constant) {
        Some((Value::Text(name), _)) if Case::named(name.as_bytes()).is_none() => {
            Err((1, "must be \"lower\", \"upper\", \"snake\" or \"camel\"".to_owned()))
        }
        _ => Ok(Prepared::Nothing),
    }
}

fn change_case(text: Text<'_>, case: Case) -> Text<'_> {
    let bytes = text.as_bytes();
    match case {
        Case::Lower if bytes.is_ascii() && !bytes.iter().any(u8::is_ascii_uppercase) => text,
        Case::Upper if bytes.is_ascii() && !bytes.iter().any(u8::is_ascii_lowercase) => text,
        Case::Lower => Text::Owned(text.to_str().chars().map(lower).collect::<String>().into()),
        Case::Upper => Text::Owned(text.to_str().chars().map(upper).collect::<String>().into()),
        Case::Snake => Text::Owned(snake(text.to_str().trim().as_bytes())),
        Case::Camel => Text::Owned(camel(text.to_str().trim().as_bytes())),
    }
}

/// Character by character, as Go does it: `ß` has no upper case, since that would be two.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        // The capital I with a dot is the only letter with more than one.
        _ => 'i',
    }
}

/// Source: github.com/iancoleman/strcase `ToSnake`: a word ends where case or kind changes, and
/// capitals in a row are one word. Knows only ASCII.
fn snake(text: &[u8]) -> Vec<u8> {
    let is_letter = u8::is_ascii_alphabetic;
    let mut words = Vec::with_capacity(text.len() + 2);
    for (index, byte) in text.iter().enumerate() {
        let low = byte.to_ascii_lowercase();
        let next = text.get(index + 1).copied().unwrap_or_default();
        let changes = match byte {
            b'A'..=b'Z' => next.is_ascii_lowercase() || next.is_ascii_digit(),
            b'a'..=b'z' => next.is_ascii_uppercase() || next.is_ascii_digit(),
            b'0'..=b'9' => is_letter(&next),
            _ => false,
        };
        if changes {
            let last = index.checked_sub(1).and_then(|last| text.get(last));
            let ends_capitals = byte.is_ascii_uppercase()
                && next.is_ascii_lowercase()
                && last.is_some_and(u8::is_ascii_uppercase);
            if ends_capitals {
                words.push(b'_');
            }
            words.push(low);
            if !byte.is_ascii_uppercase() || next.is_ascii_digit() {
                words.push(b'_');
            }
        } else if matches!(byte, b' ' | b'_' | b'-' | b'.') {
            words.push(b'_');
        } else {
            words.push(low);
        }
    }
    words
}

/// Source: github.com/iancoleman/strcase `ToCamel`: what is no letter or digit separates words and
/// is left out, and of capitals in a row only the first stays one. Knows only ASCII.
fn camel(text: &[u8]) -> Vec<u8> {
    let mut words = Vec::with_capacity(text.len());
    let mut starts_word = true;
    let mut after_capital = false;
    for byte in text {
        let written = match byte {
            _ if starts_word => byte.to_ascii_uppercase(),
            _ if after_capital => byte.to_ascii_lowercase(),
            _ => *byte,
        };
        after_capital = byte.is_ascii_uppercase();
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {
                words.push(written);
                starts_word = false;
            }
            b'0'..=b'9' => {
                words.push(*byte);
                starts_word = true;
            }
            _ => starts_word = matches!(byte, b'_' | b' ' | b'-' | b'.'),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_changed_as_strcase_does() {
        let snake = |text: &str| String::from_utf8(snake(text.as_bytes())).unwrap();
        assert_eq!(snake("testCase"), "test_case");
        assert_eq!(snake("JSONData"), "json_data");
        assert_eq!(snake("userID"), "user_id");
        assert_eq!(snake("AAAbbb"), "aa_abbb");
        assert_eq!(snake("1A2"), "1_a_2");
        assert_eq!(snake("many many.words-here"), "many_many_words_here");
        let camel = |text: &str| String::from_utf8(camel(text.as_bytes())).unwrap();
        assert_eq!(camel("test_case"), "TestCase");
        assert_eq!(camel("odd-fix"), "OddFix");
        assert_eq!(camel("numbers2And55with000"), "Numbers2And55With000");
        assert_eq!(camel("SOME_NAME"), "SomeName");
        assert_eq!(camel("a b.c"), "ABC");
    }

    #[test]
    fn letters_change_case_one_by_one() {
        let lower = |text: &str| text.chars().map(lower).collect::<String>();
        let upper = |text: &str| text.chars().map(upper).collect::<String>();
        assert_eq!(lower("ÄΣİ"), "äσi");
        assert_eq!(upper("äß"), "Äß");
    }
}
