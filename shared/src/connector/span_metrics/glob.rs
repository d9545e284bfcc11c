//! Patterns of attribute names, such as `http.*`.
//!
//! | pattern | matches |
//! |---|---|
//! | `*` | any text without a dot |
//! | `**` | any text |
//! | `?` | one character that is no dot |
//! | `[abc]`, `[a-z]`, `[!abc]` | one character of these, or none of these |
//! | `{one,other}` | one of several patterns |
//! | `\x` | `x` itself |
//!
//! Source: gobwas/glob with the separator `.`, which the Collector uses.

use std::fmt::Write as _;

use regex::Regex;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Glob(Regex);

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, for the user.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let mut expression = String::from("^(?s:");
        let mut depth = 0_usize;
        let mut rest = pattern.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '*' if rest.next_if_eq(&'*').is_some() => expression.push_str(".*"),
                '*' => expression.push_str("[^.]*"),
                '?' => expression.push_str("[^.]"),
                '[' => put_class(&mut rest, &mut expression)?,
                '{' => {
                    depth += 1;
                    expression.push_str("(?:");
                }
                ',' if depth > 0 => expression.push('|'),
                '}' if depth > 0 => {
                    depth -= 1;
                    expression.push(')');
                }
                '\\' => put_literal(rest.next().ok_or("nothing follows the \\")?, &mut expression),
                literal => put_literal(literal, &mut expression),
            }
        }
        if depth > 0 {
            return Err("a { is not closed".to_owned());
        }
        expression.push_str(")$");
        Regex::new(&expression).map(Glob).map_err(|_| "it is too long".to_owned())
    }

    /// Whether the whole of `name` matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

fn put_literal(character: char, expression: &mut String) {
    expression.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
}

/// Within a class, some characters mean something else than elsewhere; a code never does.
fn put_code(character: char, expression: &mut String) {
    write!(expression, "\\x{{{:x}}}", u32::from(character)).expect("a string takes any text");
}

/// Reads what stands between brackets.
fn put_class(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    expression: &mut String,
) -> Result<(), String> {
    let is_negated = rest.next_if_eq(&'!').is_some();
    let mut characters = Vec::new();
    loop {
        match rest.next() {
            None => return Err("a [ is not closed".to_owned()),
            Some(']') => break,
            Some('\\') => characters.push(rest.next().ok_or("nothing follows the \\")?),
            Some(character) => characters.push(character),
        }
    }
    expression.push_str(if is_negated { "[^" } else { "[" });
    match characters[..] {
        [] => return Err("there is nothing in the []".to_owned()),
        [low, '-', high] if low > high => return Err(format!("{low}-{high} goes backwards")),
        [low, '-', high] => {
            put_code(low, expression);
            expression.push('-');
            put_code(high, expression);
        }
        _ => characters.iter().for_each(|character| put_code(*character, expression)),
    }
    expression.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let glob = Glob::new(pattern).unwrap();
        for name in matching {
            assert!(glob.matches(name), "{pattern} should match {name}");
        }
        for name in others {
            assert!(!glob.matches(name), "{pattern} should not match {name}");
        }
    }

    #[test]
    fn a_star_stays_within_a_segment_and_two_do_not() {
        check("http.*", &["http.route", "http."], &["http", "http.request.method", "xhttp.a"]);
        check("http.**", &["http.route", "http.request.method"], &["http", "rpc.http.a"]);
        check("*.method", &["rpc.method"], &["http.request.method", "method"]);
        check("**", &["", "a", "a.b.c"], &[]);
        check("a.*.c", &["a.b.c", "a..c"], &["a.b.b.c"]);
    }

    #[test]
    fn single_characters_classes_and_alternatives() {
        check("?at", &["cat"], &[".at", "at", "chat"]);
        check("[a-c]x", &["ax", "cx"], &["dx", "x"]);
        check("[abc]x", &["bx"], &["dx"]);
        check("[!abc]x", &["dx", ".x"], &["ax"]);
        check("{http,rpc}.{method,s*}", &["http.method", "rpc.system"], &["db.system", "http.x"]);
        check("a\\*", &["a*"], &["ab"]);
        check("a+(b)$", &["a+(b)$"], &["aab"]);
        check("a,b}", &["a,b}"], &["a"]);
    }

    #[test]
    fn a_broken_pattern_says_why() {
        for (pattern, why) in [
            ("{a", "a { is not closed"),
            ("[a", "a [ is not closed"),
            ("[]", "there is nothing in the []"),
            ("[z-a]", "z-a goes backwards"),
            ("a\\", "nothing follows the \\"),
        ] {
            assert_eq!(Glob::new(pattern).unwrap_err(), why, "{pattern}");
        }
    }
}
