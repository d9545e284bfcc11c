//! The proxy of an HTTP client. Source: Go's net/http, which the Collector leaves this to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};

use super::endpoint::Endpoint;

/// Where a proxy is, and how to sign in.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its host and port.
    pub endpoint: Endpoint,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<HeaderValue>,
}

impl Proxy {
    /// Reads `http://host:port`, also as `http://user:password@host:port`; the port is 80 unless it
    /// is written.
    ///
    /// # Errors
    /// What is wrong with it, for the user; without the text, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "must be a URL such as http://proxy:3128";
        let uri: Uri = url.parse().map_err(|_| SHAPE)?;
        let authority = uri.authority().ok_or(SHAPE)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err("must be http://…: other proxies are not spoken to"),
            None => return Err(SHAPE),
        }
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority.as_str()),
        };
        let endpoint = Endpoint::parse_with_port(host, 80).map_err(|_| SHAPE)?;
        let authorization = user.map(basic).transpose()?;
        Ok(Self { endpoint, authorization })
    }
}

/// The value that signs in with `user:password`, in which both are percent-encoded.
fn basic(user: &str) -> Result<HeaderValue, &'static str> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |text| decoded(text).ok_or("has a user or password that is badly encoded");
    let pair = [decoded(user)?, decoded(password)?].join(&b':');
    let value = format!("Basic {}", STANDARD.encode(pair));
    let mut value = HeaderValue::from_str(&value).expect("Base64 is fit for a header");
    value.set_sensitive(true);
    Ok(value)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

/// The password is a secret.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_url_with_or_without_who_asks() {
        let check = |url: &str, endpoint: &str, authorization: Option<&str>| {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(proxy.endpoint.to_string(), endpoint);
            let value = proxy.authorization.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(value, authorization);
            assert_eq!(format!("{proxy:?}"), format!("Proxy({endpoint})"));
        };
        check("http://proxy:3128", "proxy:3128", None);
        check("http://proxy/", "proxy:80", None);
        check("http://[::1]:3128", "[::1]:3128", None);
        // ann:s@crt
        check("http://ann:s%40crt@proxy:1", "proxy:1", Some("Basic YW5uOnNAY3J0"));
        check("http://ann@proxy:1", "proxy:1", Some("Basic YW5uOg=="));
    }

    #[test]
    fn what_is_no_proxy_is_told_without_its_password() {
        let error = |url| Proxy::parse(url).unwrap_err();
        for url in ["", "proxy", "/proxy", "http://"] {
            assert_eq!(error(url), "must be a URL such as http://proxy:3128", "{url}");
        }
        for url in ["https://proxy:1", "socks5://ann:secret@proxy:1"] {
            assert_eq!(error(url), "must be http://…: other proxies are not spoken to");
        }
        assert_eq!(error("http://a%2:b@proxy"), "has a user or password that is badly encoded");
    }
}
