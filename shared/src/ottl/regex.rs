//! Regular expressions in Go's syntax.
//!
//! The `regex` crate and Go's `regexp` both descend from RE2 and differ in details: what `\d`, `\w`,
//! `\s` and `\b` match (ASCII in Go), brackets and `&&` inside of classes, braces that repeat
//! nothing, `\Q…\E`, octal escapes, flags. A pattern is rewritten for the crate, so that it means
//! what it means in the Collector. ASCII classes are also much faster.
//!
//! Source: Go regexp/syntax.

use regex::bytes::{Regex, RegexBuilder};

/// Most memory that a compiled pattern may take, in bytes, and its cache as well.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Most repetitions, as in Go.
const MAX_REPEAT: u32 = 1000;

/// Compiles a pattern in Go's syntax. Matches anywhere in a text unless it has anchors.
///
/// # Errors
/// What is wrong with the pattern, or that it is too large.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = Translator { rest: pattern, out: String::new() }.translate()?;
    RegexBuilder::new(&translated)
        .size_limit(MAX_PATTERN_BYTES)
        .dfa_size_limit(MAX_PATTERN_BYTES)
        .nest_limit(100)
        .build()
        .map_err(|problem| match problem {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            other => {
                // The crate shows the pattern and carets; the last line says what is wrong.
                let text = other.to_string();
                let line = text.lines().last().unwrap_or_default();
                format!("bad pattern: {}", line.trim_start_matches("error: "))
            }
        })
}

struct Translator<'p> {
    rest: &'p str,
    out: String,
}

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = "\\t\\n\\f\\r ";

impl Translator<'_> {
    fn translate(mut self) -> Result<String, String> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => self.repeat()?,
                '}' | ']' => self.literal(c),
                _ => self.out.push(c),
            }
        }
        Ok(self.out)
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn push(&mut self, parts: &[&str]) {
        self.out.extend(parts.iter().copied());
    }

    fn literal(&mut self, c: char) {
        if regex_special(c) {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// What stands behind a backslash, outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        match self.rest.chars().next() {
            Some('b') => self.replace("(?-u:\\b)"),
            Some('B') => self.replace("(?-u:\\B)"),
            Some('A') => self.replace("\\A"),
            Some('z') => self.replace("\\z"),
            Some('d') => self.replace("[0-9]"),
            Some('w') => self.replace("[0-9A-Za-z_]"),
            Some('s') => self.replace("[\\t\\n\\f\\r ]"),
            Some('Q') => {
                self.next();
                let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                quoted.chars().for_each(|c| self.literal(c));
            }
            _ => return self.common_escape(),
        }
        Ok(())
    }

    fn replace(&mut self, replacement: &str) {
        self.next();
        self.out.push_str(replacement);
    }

    /// What means the same inside and outside of a class.
    fn common_escape(&mut self) -> Result<(), String> {
        let Some(c) = self.next() else {
            return Err("bad pattern: a backslash at the end".to_owned());
        };
        match c {
            'D' => self.negated_class(DIGIT),
            'W' => self.negated_class(WORD),
            'S' => self.negated_class(SPACE),
            'a' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' => {
                self.out.push('\\');
                self.out.push(c);
                if c == 'x' && self.take("{") {
                    let (code, rest) = self.rest.split_once('}').unwrap_or((self.rest, ""));
                    self.rest = rest;
                    self.push(&["{", code, "}"]);
                }
            }
            'p' | 'P' => self.unicode_class(c),
            '0'..='7' => return self.octal(c),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => self.literal(c),
            c => return Err(format!("bad pattern: unknown escape \\{c}")),
        }
        Ok(())
    }

    fn negated_class(&mut self, class: &str) {
        self.out.push_str("[^");
        self.out.push_str(class);
        self.out.push(']');
    }

    /// `\pL`, `\p{Greek}` and `\p{^Greek}`.
    fn unicode_class(&mut self, c: char) {
        self.out.push('\\');
        if !self.take("{") {
            self.out.push(c);
            return;
        }
        let inverted = self.take("^");
        self.out.push(match (c, inverted) {
            ('p', true) => 'P',
            (_, true) => 'p',
            (c, false) => c,
        });
        let (name, rest) = self.rest.split_once('}').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.push(&["{", name, "}"]);
    }

    /// One digit alone would be a reference to a group, which RE2 does not have.
    fn octal(&mut self, first: char) -> Result<(), String> {
        let digits: String =
            self.rest.chars().take(2).take_while(|c| matches!(c, '0'..='7')).collect();
        if first != '0' && digits.is_empty() {
            return Err(format!("bad pattern: unknown escape \\{first}"));
        }
        self.rest = self.rest.get(digits.len()..).unwrap_or_default();
        let code = u32::from_str_radix(&format!("{first}{digits}"), 8).unwrap_or_default();
        self.push(&["\\x{", &format!("{code:x}"), "}"]);
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        if self.take("]") {
            self.out.push_str("\\]");
        }
        while let Some(c) = self.next() {
            match c {
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' => match self.rest.strip_prefix(':').and_then(|rest| rest.split_once(":]")) {
                    Some((name, rest)) => {
                        self.push(&["[:", name, ":]"]);
                        self.rest = rest;
                    }
                    None => self.literal('['),
                },
                '&' | '~' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                '\\' => match self.rest.chars().next() {
                    Some('d') => self.replace(DIGIT),
                    Some('w') => self.replace(WORD),
                    Some('s') => self.replace(SPACE),
                    _ => self.common_escape()?,
                },
                c => self.out.push(c),
            }
        }
        Err("bad pattern: unclosed class".to_owned())
    }

    /// Flags that only the crate has are refused; it refuses what else is wrong.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if !self.take("?") {
            return Ok(());
        }
        self.out.push('?');
        let flags = self.rest.split([':', ')', '<']).next().unwrap_or_default();
        match flags.chars().find(|flag| !matches!(flag, 'i' | 'm' | 's' | 'U' | '-' | 'P')) {
            Some(flag) => Err(format!("bad pattern: unknown flag {flag}")),
            None => Ok(()),
        }
    }

    /// Braces that are no repetition are literals.
    fn repeat(&mut self) -> Result<(), String> {
        let counts = self.rest.split_once('}').and_then(|(inside, rest)| {
            let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
            let is_count = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let valid = !least.is_empty() && is_count(least) && is_count(most);
            valid.then_some((inside, [least, most], rest))
        });
        let Some((inside, counts, rest)) = counts else {
            self.literal('{');
            return Ok(());
        };
        for count in counts.into_iter().filter(|count| !count.is_empty()) {
            if count.parse::<u32>().is_ok_and(|count| count <= MAX_REPEAT) {
                continue;
            }
            return Err(format!("bad pattern: more than {MAX_REPEAT} repetitions"));
        }
        self.push(&["{", inside, "}"]);
        self.rest = rest;
        Ok(())
    }
}

fn regex_special(c: char) -> bool {
    matches!(
        c,
        '\\' | '.'
            | '+'
            | '*'
            | '?'
            | '('
            | ')'
            | '|'
            | '['
            | ']'
            | '{'
            | '}'
            | '^'
            | '$'
            | '#'
            | '&'
            | '-'
            | '~'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        let regex = compile(pattern).unwrap();
        for text in matching {
            assert!(regex.is_match(text.as_bytes()), "{pattern} should match {text:?}");
        }
        for text in other {
            assert!(!regex.is_match(text.as_bytes()), "{pattern} should not match {text:?}");
        }
    }

    #[track_caller]
    fn check_error(pattern: &str, message: &str) {
        assert_eq!(compile(pattern).unwrap_err(), message);
    }

    #[test]
    fn patterns_are_not_anchored() {
        check("5..", &["a 500"], &["50"]);
        check("^/api/$", &["/api/"], &["/api/\n", "x/api/"]);
        check("(?i)ERROR", &["an error"], &[]);
        check("a.c", &["aéc"], &["a\nc"]);
    }

    #[test]
    fn perl_classes_are_ascii() {
        check(r"^\d$", &["5"], &["٣"]);
        check(r"^\w$", &["a", "_"], &["é"]);
        check(r"^\s$", &[" ", "\t"], &["\u{b}", "\u{a0}"]);
        check(r"^\S\D\W$", &["éé "], &["a5 "]);
        check(r"^[\d\s]+$", &["1 2"], &["a"]);
        check(r"^[\D]$", &["é"], &["1"]);
        check(r"\bfoo\b", &["a foo b", "éfoo"], &["afoo"]);
    }

    #[test]
    fn classes_have_no_set_operations() {
        check("^[[a]+$", &["[a["], &["b"]);
        check("^[a&&b]+$", &["a&b"], &["c"]);
        check("^[]a]+$", &["]a"], &["b"]);
        check("^[^]a]+$", &["b"], &["]"]);
        check("^[[:alpha:]-]+$", &["a-z"], &["1", "é"]);
        check(r"^[\[\]\\~]+$", &[r"[]\~"], &["a"]);
    }

    #[test]
    fn braces_that_repeat_nothing_are_literals() {
        check("^a{2,3}$", &["aa"], &["a"]);
        check("^a{,3}$", &["a{,3}"], &["aa"]);
        check("^{id}$", &["{id}"], &[]);
        check_error("a{1001}", "bad pattern: more than 1000 repetitions");
    }

    #[test]
    fn gos_escapes_are_known() {
        check(r"^\Qa.b*\E+$", &["a.b**"], &["axb"]);
        check(r"^\101\x41\x{e9}\/\-\<\_$", &["AAé/-<_"], &[]);
        check(r"^\p{Greek}\p{^Greek}\pL\PL$", &["αaa1"], &["aaa1"]);
        check(r"^(?P<a>x)(?<b>y)(?:z)$", &["xyz"], &[]);
    }

    #[test]
    fn what_go_refuses_is_refused() {
        check_error("(", "bad pattern: unclosed group");
        check_error("[a", "bad pattern: unclosed class");
        check_error(r"\", "bad pattern: a backslash at the end");
        check_error(r"\1", "bad pattern: unknown escape \\1");
        check_error(r"\y", "bad pattern: unknown escape \\y");
        check_error("(?x)a b", "bad pattern: unknown flag x");
        check_error("(?=a)", "bad pattern: unknown flag =");
        check_error(
            "(?<!a)",
            "bad pattern: look-around, including look-ahead and look-behind, is not supported",
        );
        check_error(r"(\pL{1000}){1000}", "the pattern is too large");
    }
}
