//! What an outcome is called on the wire, and back: the only place that names gRPC codes and HTTP
//! statuses.
//!
//! | outcome | gRPC out | HTTP out |
//! |---|---|---|
//! | refused, retryable | UNAVAILABLE, `RetryInfo` if a delay is known | 503, `Retry-After` |
//! | permanent | the peer's code, else INTERNAL | by that code |
//! | not an export request | `INVALID_ARGUMENT` | 400 |
//! | sender not let in | UNAUTHENTICATED | 401 |
//! | above the size limit | `RESOURCE_EXHAUSTED` without `RetryInfo` | 413 |
//!
//! Source: collector receiver/otlpreceiver/internal/errors, exporter/otlpexporter/otlp.go.

mod grpc;
mod http;
mod remote_write;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use tonic::Code;

pub(super) use self::grpc::{answer_is_not_grpc, answer_too_large, is_ok, is_unknown_method};
pub use self::grpc::{from_grpc, malformed, not_grpc, to_grpc, unauthenticated, unknown_method};
pub use self::http::{
    Failure, from_http, http_failure, not_found, only_read, wrong_content_type, wrong_method,
};
pub use self::remote_write::{Written, written};
use crate::batch::Batch;
use crate::consumer::{Reached, Rejected};
use crate::transport::connect::ConnectError;
use crate::wire::{Fields, Value, Writer};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Why a request could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Above the limit in bytes, as sent or decompressed.
    TooLarge(usize),
    /// Corrupt.
    BadCompression(String),
    /// Compressed by a method that is not spoken.
    UnknownCompression(String),
    /// Not framed as the protocol wants it.
    Broken(Cow<'static, str>),
    /// The client went away, or took the request back.
    Gone,
    /// Did not arrive in time.
    Timeout,
    /// Too much is being received; to be sent again.
    Busy,
}

/// When a request that came at a busy time may come again.
const BUSY_DELAY: Duration = Duration::from_secs(1);

impl Unread {
    /// What to tell the sender.
    fn answer(&self) -> (Code, Cow<'static, str>) {
        match self {
            Unread::TooLarge(limit) => (
                Code::ResourceExhausted,
                format!("the request is larger than the limit of {limit} bytes").into(),
            ),
            Unread::BadCompression(error) => {
                (Code::InvalidArgument, format!("corrupt compression: {error}").into())
            }
            Unread::UnknownCompression(name) => {
                (Code::Unimplemented, format!("unsupported compression: {name}").into())
            }
            Unread::Broken(error) => (Code::InvalidArgument, error.clone()),
            Unread::Gone => (Code::Cancelled, "the request was not sent to its end".into()),
            Unread::Timeout => {
                (Code::DeadlineExceeded, "the request did not arrive in time".into())
            }
            Unread::Busy => {
                (Code::Unavailable, "too much is being received, try again later".into())
            }
        }
    }
}

/// A batch that no answer came to: there was no connection, or it failed.
pub fn connection_failed(batch: Batch, error: &(dyn Error + 'static)) -> Rejected {
    let rejected = Rejected::retryable(batch, connection_reason(error));
    match root(error).is::<ConnectError>() {
        true => rejected,
        false => rejected.reached(match is_unprocessed(error) {
            true => Reached::Nobody,
            false => Reached::Unknown,
        }),
    }
}

/// Why no answer came, for people; names no host.
pub fn connection_reason(error: &(dyn Error + 'static)) -> String {
    let bottom = root(error);
    match bottom.downcast_ref::<ConnectError>() {
        Some(error) => error.reason.to_string(),
        None => format!("the connection to the destination failed: {bottom}"),
    }
}

/// Whether the peer said that it did nothing with the request: it refused the stream, or went
/// away naming an earlier one as its last.
pub(super) fn is_unprocessed(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && (error.is_go_away() || is_refused);
        }
        cause = error.source();
    }
    false
}

/// The error at the bottom, which says most.
pub(super) fn root<'e>(mut error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// The peer's code, unless it would make the sender try again.
fn permanent_code(code: Option<u8>) -> Code {
    let code = code.map_or(Code::Internal, |code| Code::from_i32(i32::from(code)));
    match code {
        Code::Ok => Code::Internal,
        code if is_retryable(code) => Code::Internal,
        code => code,
    }
}

/// Whether a permanent rejection may be due to what is in the request, so that a part of it may
/// fare better; not when it was of whoever sent it, or the method is not there.
pub fn blames_the_data(rejected: &Rejected) -> bool {
    let code = rejected.code.map(|code| Code::from_i32(i32::from(code)));
    !matches!(
        code,
        Some(Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::NotFound)
    )
}

/// Whether OTLP lets a client try again after this code. `RESOURCE_EXHAUSTED` is, with `RetryInfo`.
fn is_retryable(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// A `google.rpc.Status` message.
fn status_message(code: Code, message: &str, retry_after: Option<Duration>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.varint(1, i64::from(i32::from(code)).cast_unsigned());
    writer.bytes(2, message.as_bytes());
    if let Some(delay) = retry_after {
        writer.message(3, |detail| {
            detail.bytes(1, RETRY_INFO.as_bytes());
            detail.message(2, |info| {
                info.message(1, |duration| {
                    duration.varint(1, delay.as_secs());
                    duration.varint(2, u64::from(delay.subsec_nanos()));
                });
            });
        });
    }
    writer.into_vec()
}

/// The delay of a `RetryInfo` in a `google.rpc.Status` message.
fn retry_delay(status: &[u8]) -> Option<Duration> {
    for detail in messages(status, 3) {
        let type_url = messages(detail, 1).next();
        if type_url.is_some_and(|url| url.ends_with(b"google.rpc.RetryInfo")) {
            let info = messages(detail, 2).next().unwrap_or_default();
            let duration = messages(info, 1).next().unwrap_or_default();
            let (seconds, nanos) = (varint(duration, 1), varint(duration, 2));
            // Negative numbers are no delays; as unsigned ones they are very large.
            let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
            return i64::try_from(seconds).ok().map(|_| Duration::new(seconds, nanos));
        }
    }
    None
}

fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).filter(move |field| field.number == number).filter_map(|f| f.value.bytes())
}

fn varint(message: &[u8], number: u32) -> u64 {
    let values = Fields::new(message).filter(|field| field.number == number);
    values.last().map_or(0, |field| match field.value {
        Value::Varint(value) => value,
        _ => 0,
    })
}
