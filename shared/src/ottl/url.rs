//! URLs in parts, named as the semantic conventions name them.
//!
//! Source: contrib internal/coreinternal/parseutils/uri.go and Go net/url.

use std::net::Ipv6Addr;

/// A part's value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Port(i64),
}

/// The parts of an absolute or relative URL. Those that it does not have are left out, but for
/// domain, scheme and path, which are empty then.
pub(super) fn parts(url: &str) -> Result<Vec<(&'static str, Part)>, &'static str> {
    if url.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err("a URL has no control characters");
    }
    let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (scheme, rest) = split_scheme(before)?;
    let (hierarchy, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match hierarchy.strip_prefix("//") {
        // Without a scheme, three slashes are a path.
        Some(rest) if !(scheme.is_empty() && hierarchy.starts_with("///")) => {
            let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
            (authority, rest.get(authority.len()..).unwrap_or_default())
        }
        _ if !scheme.is_empty() && !hierarchy.starts_with('/') => ("", ""), // opaque, as in mailto:
        _ => ("", hierarchy),
    };
    if scheme.is_empty() && authority.is_empty() && !hierarchy.starts_with('/') {
        let first = hierarchy.split('/').next().unwrap_or_default();
        if first.contains(':') {
            return Err("the first part of a relative URL has a colon");
        }
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (domain, port) = split_host(host)?;
    let path = decode(path)?;
    let text = |text: &str| Part::Text(text.to_owned());
    let mut parts = vec![
        ("url.original", text(url)),
        ("url.domain", Part::Text(decode(domain)?)),
        ("url.scheme", Part::Text(scheme.to_ascii_lowercase())),
        ("url.path", text(&path)),
    ];
    if !port.is_empty() {
        parts.push(("url.port", Part::Port(port.parse().map_err(|_| "the port is too large")?)));
    }
    if !fragment.is_empty() {
        parts.push(("url.fragment", Part::Text(decode(fragment)?)));
    }
    if let Some(user) = user {
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (user, None),
        };
        parts.push(("url.user_info", text(user)));
        if !name.is_empty() {
            parts.push(("url.username", Part::Text(decode(name)?)));
        }
        if let Some(password) = password {
            parts.push(("url.password", Part::Text(decode(password)?)));
        }
    }
    if !query.is_empty() {
        parts.push(("url.query", text(query)));
    }
    match path.rsplit_once('.') {
        Some((_, extension)) if !extension.is_empty() => {
            parts.push(("url.extension", text(extension)));
        }
        _ => {}
    }
    Ok(parts)
}

fn split_scheme(url: &str) -> Result<(&str, &str), &'static str> {
    let Some((scheme, rest)) = url.split_once(':') else { return Ok(("", url)) };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    match is_scheme {
        true => Ok((scheme, rest)),
        false if scheme.is_empty() => Err("the scheme is missing before the colon"),
        false => Ok(("", url)),
    }
}

/// Host without brackets, and port.
fn split_host(host: &str) -> Result<(&str, &str), &'static str> {
    let (domain, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (domain, behind) =
                rest.split_once(']').ok_or("a bracket is missing in the host")?;
            let (address, _) = domain.split_once('%').unwrap_or((domain, ""));
            if address.parse::<Ipv6Addr>().is_err() {
                return Err("the address in brackets is not of IPv6");
            }
            (domain, behind)
        }
        None => {
            let colon = host.rfind(':').unwrap_or(host.len());
            host.split_at_checked(colon).unwrap_or((host, ""))
        }
    };
    let digits = match port.strip_prefix(':') {
        Some(digits) => digits,
        None if port.is_empty() => "",
        None => return Err("the port is no number"),
    };
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok((domain, digits)),
        false => Err("the port is no number"),
    }
}

/// Replaces `%41` by `A`.
fn decode(text: &str) -> Result<String, &'static str> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or("a percent sign escapes nothing")?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = digits.iter().try_fold(0, |byte, next| Some(byte << 4 | digit(*next)?));
        let byte = byte.and_then(|byte| u8::try_from(byte).ok());
        decoded.push(byte.ok_or("a percent sign escapes nothing")?);
        rest = behind;
    }
    Ok(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &[(&str, &str)]) {
        let parts = parts(url).unwrap();
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(key, part)| match part {
                Part::Text(text) => (key.trim_start_matches("url."), text),
                Part::Port(port) => (key.trim_start_matches("url."), port.to_string()),
            })
            .collect();
        let parts: Vec<_> = parts.iter().map(|(key, text)| (*key, text.as_str())).collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_url_comes_apart() {
        let url = "HTTPS://me:p%40ss@Example.com:8080/a%20b/c.png?q=1#top";
        check(
            url,
            &[
                ("original", url),
                ("domain", "Example.com"),
                ("scheme", "https"),
                ("path", "/a b/c.png"),
                ("port", "8080"),
                ("fragment", "top"),
                ("user_info", "me:p%40ss"),
                ("username", "me"),
                ("password", "p@ss"),
                ("query", "q=1"),
                ("extension", "png"),
            ],
        );
        check(
            "/cart?id=1",
            &[
                ("original", "/cart?id=1"),
                ("domain", ""),
                ("scheme", ""),
                ("path", "/cart"),
                ("query", "id=1"),
            ],
        );
        check(
            "http://[::1]:80",
            &[
                ("original", "http://[::1]:80"),
                ("domain", "::1"),
                ("scheme", "http"),
                ("path", ""),
                ("port", "80"),
            ],
        );
        check(
            "mailto:a@b.c",
            &[("original", "mailto:a@b.c"), ("domain", ""), ("scheme", "mailto"), ("path", "")],
        );
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for url in ["http://a:b", "http://[::1", "http://[x]", "/%zz", "/%4", ":x", "a\nb", "1a:b"]
        {
            assert!(parts(url).is_err(), "{url}");
        }
    }
}
