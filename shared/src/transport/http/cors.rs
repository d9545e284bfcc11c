//! Cross-origin requests of browsers: which answers a page of another origin may read.
//!
//! Origins are matched without regard to case and with one `*` for any characters, credentials
//! are always allowed, and a preflight that is refused is answered like one that is not, only
//! without the headers that allow anything. Source: rs/cors, which collector config/confighttp
//! uses.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};

use crate::config::CorsConfig;

/// What a page may send whatever is listed.
const ALWAYS_ALLOWED: [&str; 4] = ["accept", "accept-language", "content-type", "content-language"];

const PREFLIGHT_VARY: &str =
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Decides on the requests of one server.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Origins,
    headers: AllowedHeaders,
    exposed: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

#[derive(Debug)]
enum Origins {
    Any,
    /// What stands before and after the `*`; no second half where there is none.
    These(Vec<(String, Option<String>)>),
}

#[derive(Debug)]
enum AllowedHeaders {
    Any,
    These(Vec<String>),
}

impl Cors {
    /// None when no origin is allowed anything.
    pub(super) fn new(config: &CorsConfig) -> Option<Self> {
        if config.allowed_origins.is_empty() {
            return None;
        }
        let split = |origin: &String| {
            let origin = origin.to_ascii_lowercase();
            match origin.split_once('*') {
                Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
                None => (origin, None),
            }
        };
        let any = |names: &[String]| names.iter().any(|name| name == "*");
        let mut allowed: Vec<String> = ALWAYS_ALLOWED.map(str::to_owned).to_vec();
        allowed.extend(config.allowed_headers.iter().map(|name| name.to_ascii_lowercase()));
        if config.allowed_headers.is_empty() {
            allowed.push("x-requested-with".to_owned());
        }
        Some(Self {
            origins: match any(&config.allowed_origins) {
                true => Origins::Any,
                false => Origins::These(config.allowed_origins.iter().map(split).collect()),
            },
            headers: match any(&config.allowed_headers) {
                true => AllowedHeaders::Any,
                false => AllowedHeaders::These(allowed),
            },
            exposed: match config.exposed_headers.join(", ") {
                none if none.is_empty() => None,
                names => HeaderValue::from_str(&names).ok(),
            },
            max_age: match config.max_age {
                0 => None,
                seconds => Some(seconds.max(0).into()),
            },
        })
    }

    /// Whether a browser asks what it may do, and wants no more than that.
    pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
        request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The headers of the answer to a preflight.
    pub(super) fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut answer = HeaderMap::new();
        answer.insert(header::VARY, HeaderValue::from_static(PREFLIGHT_VARY));
        let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD);
        let (Some(origin), Some(method)) = (self.allowed_origin(asked), method) else {
            return answer;
        };
        if !is_simple(method.as_bytes()) || !self.allows_headers(asked) {
            return answer;
        }
        self.allow(&mut answer, origin);
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        for names in asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            if !names.is_empty() {
                answer.append(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
        }
        insert(&mut answer, header::ACCESS_CONTROL_MAX_AGE, self.max_age.as_ref());
        answer
    }

    /// The headers that the answer to another request gets on top.
    pub(super) fn actual(&self, method: &Method, asked: &HeaderMap) -> HeaderMap {
        let mut answer = HeaderMap::new();
        answer.insert(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.allowed_origin(asked)
            && is_simple(method.as_str().as_bytes())
        {
            self.allow(&mut answer, origin);
            insert(&mut answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.as_ref());
        }
        answer
    }

    fn allow(&self, answer: &mut HeaderMap, origin: &HeaderValue) {
        let origin = match self.origins {
            Origins::Any => HeaderValue::from_static("*"),
            Origins::These(_) => origin.clone(),
        };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let allowed = HeaderValue::from_static("true");
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
    }

    /// The origin of the page, if it is allowed to read answers.
    fn allowed_origin<'h>(&self, asked: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let origin = asked.get(header::ORIGIN).filter(|origin| !origin.is_empty())?;
        let Origins::These(allowed) = &self.origins else { return Some(origin) };
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        let matches = |(before, after): &(String, Option<String>)| match after {
            None => text == *before,
            Some(after) => {
                text.len() >= before.len() + after.len()
                    && text.starts_with(before.as_str())
                    && text.ends_with(after.as_str())
            }
        };
        allowed.iter().any(matches).then_some(origin)
    }

    fn allows_headers(&self, asked: &HeaderMap) -> bool {
        let AllowedHeaders::These(allowed) = &self.headers else { return true };
        asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().all(|names| {
            let names = String::from_utf8_lossy(names.as_bytes()).to_ascii_lowercase();
            names
                .split(',')
                .map(str::trim)
                .all(|name| name.is_empty() || allowed.iter().any(|allowed| allowed == name))
        })
    }
}

fn insert(answer: &mut HeaderMap, name: HeaderName, value: Option<&HeaderValue>) {
    if let Some(value) = value {
        answer.insert(name, value.clone());
    }
}

/// The methods that pages may use; only POST leads anywhere.
fn is_simple(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"POST")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::testing::section;

    fn cors(config: &Value) -> Cors {
        let (config, problems, _) = section::<CorsConfig>(config, |_, _, _| {});
        assert!(problems.is_empty(), "{problems:?}");
        Cors::new(&config).unwrap()
    }

    /// The answer's headers to a preflight with these.
    fn preflight(cors: &Cors, headers: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut asked = HeaderMap::new();
        for (name, value) in headers {
            asked.append(*name, HeaderValue::from_static(value));
        }
        lines(&cors.preflight(&asked))
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{}: {}", name, value.to_str().unwrap())
        };
        let mut lines: Vec<_> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    const VARY: &str =
        "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

    #[test]
    fn an_allowed_preflight_gets_what_it_asks_for() {
        let cors = cors(&json!({
            "allowed_origins": ["https://*.example.com"],
            "allowed_headers": ["X-Tenant"],
            "max_age": 7200,
        }));
        let asked = [
            ("origin", "https://Shop.Example.com"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-tenant"),
        ];
        let expected = [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: content-type,x-tenant",
            "access-control-allow-methods: POST",
            "access-control-allow-origin: https://Shop.Example.com",
            "access-control-max-age: 7200",
            VARY,
        ];
        assert_eq!(preflight(&cors, &asked), expected);
    }

    #[test]
    fn a_preflight_that_wants_more_is_answered_with_nothing() {
        let cors = cors(&json!({ "allowed_origins": ["https://a.org", "https://*.b.org"] }));
        let method = ("access-control-request-method", "POST");
        let origin = ("origin", "https://a.org");
        for asked in [
            vec![method],
            vec![("origin", "https://b.org"), method],
            vec![("origin", "https://a.org.evil.net"), method],
            vec![origin, ("access-control-request-method", "DELETE")],
            vec![origin, method, ("access-control-request-headers", "content-type, x-tenant")],
        ] {
            assert_eq!(preflight(&cors, &asked), [VARY], "{asked:?}");
        }
        let listed_by_default = ("access-control-request-headers", "X-Requested-With");
        assert_eq!(preflight(&cors, &[origin, method, listed_by_default]).len(), 5);
    }

    #[test]
    fn a_star_allows_every_origin_and_every_header() {
        let cors = cors(&json!({ "allowed_origins": ["*"], "allowed_headers": ["*"] }));
        let asked = [
            ("origin", "null"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "anything"),
        ];
        assert_eq!(preflight(&cors, &asked)[3], "access-control-allow-origin: *");
    }

    #[test]
    fn other_answers_say_who_may_read_them() {
        let cors = cors(&json!({
            "allowed_origins": ["https://a.org"],
            "exposed_headers": ["Retry-After", "X-Edge"],
        }));
        let headers = |origin: &'static str| {
            let asked = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            lines(&cors.actual(&Method::POST, &asked))
        };
        let expected = [
            "access-control-allow-credentials: true",
            "access-control-allow-origin: https://a.org",
            "access-control-expose-headers: Retry-After, X-Edge",
            "vary: Origin",
        ];
        assert_eq!(headers("https://a.org"), expected);
        assert_eq!(headers("https://b.org"), ["vary: Origin"]);
    }

    #[test]
    fn without_origins_there_is_nothing_to_decide() {
        assert!(Cors::new(&CorsConfig::default()).is_none());
    }
}
