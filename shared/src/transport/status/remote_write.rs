//! Prometheus Remote-Write.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};

use super::http::retry_after;

/// Longest text of an answer that is repeated, in bytes.
const MAX_TEXT: usize = 1024;

/// What a receiver did with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It took it.
    Taken,
    /// It failed for now, and may be asked again, after this delay if it said one.
    ForNow {
        /// For people.
        reason: String,
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// It does not know this kind of message.
    UnknownMessage(String),
    /// It will never take it.
    Never(String),
}

/// Reads an answer. `now` is the wall clock, in nanoseconds since the Unix epoch.
///
/// As the specification has it, server errors and 429 may be tried again, and no other. The
/// delay that a receiver asks for counts with both.
pub fn written(status: StatusCode, headers: &HeaderMap, body: &[u8], now: u64) -> Written {
    if status.is_success() {
        return Written::Taken;
    }
    let text = String::from_utf8_lossy(body.get(..MAX_TEXT).unwrap_or(body));
    let reason = match text.trim() {
        "" => format!("the receiver answered with HTTP status {}", status.as_u16()),
        text => format!("the receiver answered with HTTP status {}: {text}", status.as_u16()),
    };
    match status {
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            let header = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|text| retry_after(text, now));
            Written::ForNow { reason, retry_after }
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Written::UnknownMessage(reason),
        _ => Written::Never(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, after: Option<&'static str>, expected: &Written) {
        let mut headers = HeaderMap::new();
        if let Some(after) = after {
            headers.insert(header::RETRY_AFTER, after.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(written(status, &headers, b" no \n", 0), *expected);
    }

    #[test]
    fn only_server_errors_and_429_may_be_tried_again() {
        let reason = |status| format!("the receiver answered with HTTP status {status}: no");
        let delay = Duration::from_secs(7);
        for status in [500, 503, 429, 599] {
            let for_now = |retry_after| Written::ForNow { reason: reason(status), retry_after };
            check(status, None, &for_now(None));
            check(status, Some("7"), &for_now(Some(delay)));
        }
        for status in [400, 401, 404, 301] {
            check(status, Some("7"), &Written::Never(reason(status)));
        }
        check(415, None, &Written::UnknownMessage(reason(415)));
        check(204, None, &Written::Taken);
    }
}
