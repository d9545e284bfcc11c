//! Patterns with `*` and `?`, made regular expressions.
//!
//! Source: gobwas/glob without separators, which `replace_match` of contrib uses: `*` and `**` are
//! any text, `?` any character, `[abc]`, `[a-z]` and `[!a-z]` one of a class, `{a,b}` one of
//! several patterns, and a backslash takes the next character as it is.

use regex::bytes::Regex;

use super::regex::compile;

/// Compiles a pattern that has to fit a whole text.
///
/// # Errors
/// What is wrong with the pattern.
pub(super) fn compile_glob(glob: &str) -> Result<Regex, String> {
    let mut pattern = String::from("^(?s:");
    let mut alternatives = 0_usize;
    let mut chars = glob.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '{' => {
                alternatives += 1;
                pattern.push_str("(?:");
            }
            '}' if alternatives > 0 => {
                alternatives -= 1;
                pattern.push(')');
            }
            ',' if alternatives > 0 => pattern.push('|'),
            '[' => class(&mut chars, &mut pattern)?,
            '\\' => match chars.next() {
                Some(c) => literal(c, &mut pattern),
                None => return Err("the pattern ends with a backslash".to_owned()),
            },
            c => literal(c, &mut pattern),
        }
    }
    if alternatives > 0 {
        return Err("a \"{\" of the pattern has no \"}\"".to_owned());
    }
    pattern.push_str(")$");
    compile(&pattern)
}

fn class(chars: &mut std::str::Chars<'_>, pattern: &mut String) -> Result<(), String> {
    pattern.push('[');
    let mut is_first = true;
    loop {
        match chars.next() {
            Some('!') if is_first => pattern.push('^'),
            Some(']') if !is_first => break,
            Some('-') => pattern.push('-'),
            Some('\\') => match chars.next() {
                Some(c) => literal(c, pattern),
                None => return Err("a \"[\" of the pattern has no \"]\"".to_owned()),
            },
            Some(c) => literal(c, pattern),
            None => return Err("a \"[\" of the pattern has no \"]\"".to_owned()),
        }
        is_first = false;
    }
    pattern.push(']');
    Ok(())
}

fn literal(c: char, pattern: &mut String) {
    let mut buffer = [0; 4];
    pattern.push_str(&regex::escape(c.encode_utf8(&mut buffer)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, fits: &[&str], others: &[&str]) {
        let pattern = compile_glob(glob).unwrap();
        for text in fits {
            assert!(pattern.is_match(text.as_bytes()), "{glob} {text}");
        }
        for text in others {
            assert!(!pattern.is_match(text.as_bytes()), "{glob} {text}");
        }
    }

    #[test]
    fn a_glob_fits_whole_texts() {
        check(
            "/user/*/list",
            &["/user/17/list", "/user/a/b/list"],
            &["x/user/1/list", "/user/list"],
        );
        check("a?c", &["abc", "aéc", "a\nc"], &["ac", "abbc"]);
        check("{cat,[bf]at}s", &["cats", "bats", "fats"], &["rats", "cat"]);
        check("[!a-c]x", &["dx"], &["ax", "x"]);
        check("a.b\\*", &["a.b*"], &["axb*", "a.bb"]);
        check("1,2", &["1,2"], &["1"]);
    }

    #[test]
    fn a_glob_that_does_not_end_is_refused() {
        for glob in ["{a,b", "[a", "a\\"] {
            assert!(compile_glob(glob).is_err(), "{glob}");
        }
    }
}
