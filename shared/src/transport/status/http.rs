//! HTTP.

use std::borrow::Cow;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use tonic::Code;

use super::{BUSY_DELAY, Unread, permanent_code, status_message};
use crate::auth::Unauthenticated;
use crate::batch::Batch;
use crate::consumer::{Reached, Rejected, RejectedKind};
use crate::wire::{Fields, Malformed, Value};

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub status: StatusCode,
    /// The `Retry-After` header, in seconds.
    pub retry_after: Option<u64>,
    code: Code,
    message: Cow<'static, str>,
}

impl Failure {
    fn new(status: StatusCode, code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, retry_after: None, code, message: message.into() }
    }

    /// A `google.rpc.Status` message in protobuf.
    pub fn protobuf(&self) -> Vec<u8> {
        status_message(self.code, &self.message, None)
    }

    /// The same in JSON.
    pub fn json(&self) -> Vec<u8> {
        serde_json::json!({ "code": i32::from(self.code), "message": self.message })
            .to_string()
            .into_bytes()
    }
}

/// The answer for a batch that was not taken.
pub fn http_failure(rejected: &Rejected) -> Failure {
    let message = rejected.reason.clone();
    match rejected.kind {
        RejectedKind::Permanent => {
            let code = permanent_code(rejected.code);
            Failure::new(status_of(code), code, message)
        }
        RejectedKind::Refused | RejectedKind::Retryable => Failure {
            retry_after: rejected.retry_after.map(whole_seconds),
            ..Failure::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
        },
    }
}

/// Rounded up: a client must not come back too early.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
}

/// The HTTP status of a gRPC code, as the Collector maps it.
fn status_of(code: Code) -> StatusCode {
    match code {
        code if super::is_retryable(code) => StatusCode::SERVICE_UNAVAILABLE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unimplemented => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<&Malformed> for Failure {
    fn from(malformed: &Malformed) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, malformed.to_string())
    }
}

impl From<&Unauthenticated> for Failure {
    fn from(unauthenticated: &Unauthenticated) -> Self {
        Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, unauthenticated.to_string())
    }
}

impl From<&Unread> for Failure {
    fn from(unread: &Unread) -> Self {
        let (code, message) = unread.answer();
        match unread {
            Unread::Busy => Failure {
                retry_after: Some(whole_seconds(BUSY_DELAY)),
                ..Failure::new(status_of(code), code, message)
            },
            Unread::TooLarge(_) => Failure::new(StatusCode::PAYLOAD_TOO_LARGE, code, message),
            Unread::UnknownCompression(name) => Failure::new(
                StatusCode::BAD_REQUEST,
                Code::InvalidArgument,
                format!("unsupported Content-Encoding: {name}"),
            ),
            _ => Failure::new(status_of(code), code, message),
        }
    }
}

/// The answer to an unknown path.
pub fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "404 page not found\n")
}

/// The answer to a method other than POST.
pub fn wrong_method() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [POST]")
}

/// The answer to a method that does not read a page.
pub fn only_read() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [GET, HEAD]\n")
}

/// The answer to a content type that is not spoken.
pub fn wrong_content_type() -> (StatusCode, &'static str) {
    let text = "415 unsupported media type, supported: [application/json, application/x-protobuf]";
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
}

/// What came of a request that was answered with a status other than success. `now` is the wall
/// clock, in nanoseconds since the Unix epoch.
pub fn from_http(
    batch: Batch,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: u64,
) -> Rejected {
    let (code, message) = read_body(headers, body);
    let reason = match message.as_str() {
        "" => format!("the destination answered with HTTP status {}", status.as_u16()),
        message => {
            format!("the destination answered with HTTP status {}: {message}", status.as_u16())
        }
    };
    let code = code.unwrap_or_else(|| i32::from(code_of(status)));
    let rejected = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let throttled =
                matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let header = headers.get(header::RETRY_AFTER).filter(|_| throttled);
            let delay = header.and_then(|value| retry_after(value.to_str().ok()?, now));
            Rejected { retry_after: delay, ..Rejected::retryable(batch, reason) }
        }
        _ => Rejected::permanent(batch, reason),
    };
    let rejected = rejected.reached(Reached::Answered);
    match u8::try_from(code) {
        Ok(code) => rejected.code(code),
        Err(_) => rejected,
    }
}

/// The gRPC code of an HTTP status that came without a Status message.
fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Code::Unavailable
        }
        _ => Code::Unknown,
    }
}

/// Code and text of a `google.rpc.Status` in protobuf or JSON.
fn read_body(headers: &HeaderMap, body: &[u8]) -> (Option<i32>, String) {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    if content_type.starts_with(b"application/x-protobuf") {
        let mut read = (None, String::new());
        for field in Fields::new(body) {
            match (field.number, field.value) {
                (1, Value::Varint(code)) => read.0 = i32::try_from(code).ok(),
                (2, Value::Bytes(text)) => read.1 = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        return read;
    }
    if content_type.starts_with(b"application/json")
        && let Ok(status) = serde_json::from_slice::<serde_json::Value>(body)
    {
        let code = status.get("code").and_then(serde_json::Value::as_i64);
        let text = status.get("message").and_then(serde_json::Value::as_str).unwrap_or_default();
        return (code.and_then(|code| i32::try_from(code).ok()), text.to_owned());
    }
    (None, String::new())
}

/// A `Retry-After` header: seconds, or a date.
pub(super) fn retry_after(text: &str, now: u64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = Duration::from_secs(http_date(text.trim())?);
    Some(at.saturating_sub(Duration::from_nanos(now)))
}

/// Seconds since the Unix epoch of `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that HTTP lets
/// be sent.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let mut parts = date.strip_suffix(" GMT")?.split([' ', ':']);
    let number = |parts: &mut std::str::Split<'_, [char; 2]>| parts.next()?.parse::<u64>().ok();
    let day = number(&mut parts)?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let (year, hour) = (number(&mut parts)?, number(&mut parts)?);
    let (minute, second) = (number(&mut parts)?, number(&mut parts)?);
    if year < 1970 || day == 0 || day > 31 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days of the civil calendar, with years that begin in March so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    let days = days.checked_sub(719_469)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}
