//! What an outcome is called on the wire, and back: the only file that names gRPC codes and HTTP
//! statuses.
//!
//! | outcome | gRPC out | HTTP out |
//! |---|---|---|
//! | refused, retryable | UNAVAILABLE, `RetryInfo` if a delay is known | 503, `Retry-After` |
//! | permanent | the peer's code, else INTERNAL | by that code |
//!
//! Source: collector receiver/otlpreceiver/internal/errors, exporter/otlpexporter/otlp.go.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tonic::{Code, Status};

use super::connect::ConnectError;
use crate::batch::Batch;
use crate::consumer::{Rejected, RejectedKind};
use crate::wire::{Fields, Value, Writer};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The gRPC status that a sender is answered with.
pub fn to_grpc(rejected: &Rejected) -> Status {
    let reason = rejected.reason.as_ref();
    match rejected.kind {
        RejectedKind::Permanent => Status::new(permanent_code(rejected.code), reason),
        RejectedKind::Refused | RejectedKind::Retryable => match rejected.retry_after {
            None => Status::new(Code::Unavailable, reason),
            Some(delay) => {
                let details = status_message(Code::Unavailable, reason, Some(delay));
                Status::with_details(Code::Unavailable, reason, details.into())
            }
        },
    }
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

/// Whether OTLP lets a client try again after this code. RESOURCE_EXHAUSTED is, with `RetryInfo`.
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
pub fn status_message(code: Code, message: &str, retry_after: Option<Duration>) -> Vec<u8> {
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

/// What came of a request that was answered with `status`, or not at all.
pub fn from_grpc(batch: Batch, status: &Status) -> Rejected {
    // A status with a source was made on this side, from an error of the connection.
    if let Some(source) = std::error::Error::source(status) {
        let reason = match source.downcast_ref::<ConnectError>() {
            Some(error) => error.reason.clone(),
            None => format!("the connection to the destination failed: {}", root(source)).into(),
        };
        return Rejected::retryable(batch, reason);
    }
    let retry_after = retry_delay(status.details());
    let reason = reason(status.code().description(), status.message());
    let retryable = match status.code() {
        Code::ResourceExhausted => retry_after.is_some(),
        code => is_retryable(code),
    };
    let rejected = match retryable {
        true => Rejected::retryable(batch, reason),
        false => Rejected::permanent(batch, reason),
    };
    let rejected = Rejected { retry_after: retry_after.filter(|_| retryable), ..rejected };
    match u8::try_from(i32::from(status.code())) {
        Ok(code) => rejected.code(code),
        Err(_) => rejected,
    }
}

fn reason(description: &str, message: &str) -> Cow<'static, str> {
    match message {
        "" => format!("the destination answered: {description}").into(),
        message => message.to_owned().into(),
    }
}

/// The error at the bottom, which says most.
fn root<'e>(mut error: &'e (dyn std::error::Error + 'static)) -> &'e dyn std::error::Error {
    while let Some(source) = error.source() {
        error = source;
    }
    error
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
