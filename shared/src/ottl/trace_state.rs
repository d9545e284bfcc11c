//! The W3C tracestate header.

/// Members that a header may have.
const MAX_MEMBERS: usize = 32;

/// The header is not a valid tracestate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// The value of a member, unless there is none of that key.
///
/// # Errors
/// If the header is not valid, which is no reason to look into it further.
///
/// Source: go.opentelemetry.io/otel/trace/tracestate.go. An upper case letter, a key twice, an empty
/// value or more than 32 members make the whole header invalid.
pub fn member<'a>(header: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, Invalid> {
    let mut found = None;
    let mut count = 0;
    for (index, member) in members(header).enumerate() {
        let (name, value) = split(member).ok_or(Invalid)?;
        let mut earlier = members(header).take(index).filter_map(split);
        count += 1;
        if count > MAX_MEMBERS || earlier.any(|(other, _)| other == name) {
            return Err(Invalid);
        }
        if name == key {
            found = Some(value);
        }
    }
    Ok(found)
}

/// Empty members are passed over.
fn members(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header.split(|byte| *byte == b',').filter(|member| !member.is_empty())
}

fn split(member: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = member.split_at_checked(equals)?;
    let (key, value) = (trim_start(key), trim_end(value.get(1..)?));
    (is_key(key) && is_value(value)).then_some((key, value))
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end =
        text.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

fn is_key(key: &[u8]) -> bool {
    let tail = |text: &[u8], most: usize| {
        text.len() <= most
            && text
                .iter()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    let simple = |text: &[u8], most: usize| match text {
        [b'a'..=b'z', rest @ ..] => tail(rest, most),
        _ => false,
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => simple(key, 255),
        Some(at) => {
            let (tenant, system) = key.split_at(at);
            let is_tenant = match tenant {
                [b'a'..=b'z' | b'0'..=b'9', rest @ ..] => tail(rest, 240),
                _ => false,
            };
            is_tenant && simple(system.get(1..).unwrap_or_default(), 13)
        }
    }
}

fn is_value(value: &[u8]) -> bool {
    let is_visible = |byte: u8| matches!(byte, 0x21..=0x7e) && byte != b',' && byte != b'=';
    match value.split_last() {
        Some((last, rest)) => {
            value.len() <= 256
                && is_visible(*last)
                && rest.iter().all(|byte| *byte == b' ' || is_visible(*byte))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, key: &str, expected: Result<Option<&str>, Invalid>) {
        let member = member(header.as_bytes(), key.as_bytes());
        assert_eq!(member, expected.map(|value| value.map(str::as_bytes)), "{header}");
    }

    #[test]
    fn members_of_a_valid_header_are_found() {
        check("ot=th:8,vendor=x y", "ot", Ok(Some("th:8")));
        check("ot=th:8, vendor=x y \t,", "vendor", Ok(Some("x y")));
        check("1t@sys=1", "1t@sys", Ok(Some("1")));
        check("ot=1", "other", Ok(None));
        check("", "ot", Ok(None));
        check(",,", "ot", Ok(None));
    }

    #[test]
    fn an_invalid_member_spoils_the_header() {
        for member in ["Ot=1", "x", "x=", "=1", "x=a=b", "x=ä", "1x=1", "t@s@u=1", "ot=2", "x =1"]
        {
            check(&format!("ot=1,{member}"), "ot", Err(Invalid));
        }
        let many = |count: usize| {
            (0..count).map(|index| format!("k{index}=v")).collect::<Vec<_>>().join(",")
        };
        check(&many(32), "k31", Ok(Some("v")));
        check(&many(33), "k31", Err(Invalid));
        check(&format!("a={},", "v".repeat(257)), "a", Err(Invalid));
    }
}
