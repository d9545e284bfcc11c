//! gRPC.

use std::borrow::Cow;

use ::http::{HeaderValue, Response};
use tonic::{Code, Status};

use super::{BUSY_DELAY, Unread, is_retryable, permanent_code, retry_delay, status_message};
use crate::auth::Unauthenticated;
use crate::batch::Batch;
use crate::consumer::{Reached, Rejected, RejectedKind};
use crate::wire::Malformed;

/// The status that a sender is answered with.
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

/// The status for bytes that are no export request.
pub fn malformed(malformed: &Malformed) -> Status {
    Status::new(Code::InvalidArgument, malformed.to_string())
}

/// The status for a method that does not exist, or whose signal has no pipeline.
pub fn unknown_method(path: &str) -> Status {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    Status::new(Code::Unimplemented, format!("unknown service or method of {service:?}"))
}

/// The status for a request whose sender is not let in.
pub fn unauthenticated(unauthenticated: &Unauthenticated) -> Status {
    Status::new(Code::Unauthenticated, unauthenticated.to_string())
}

/// The answer to what is not gRPC at all.
pub fn not_grpc<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = ::http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

impl Unread {
    /// The status that the sender is answered with.
    pub(in crate::transport) fn to_grpc(&self) -> Status {
        let (code, message) = self.answer();
        if let Unread::Busy = self {
            let details = status_message(code, &message, Some(BUSY_DELAY));
            return Status::with_details(code, message, details.into());
        }
        let mut status = Status::new(code, message);
        if let Unread::UnknownCompression(_) = self {
            let spoken = HeaderValue::from_static("gzip,zstd,snappy,identity");
            status.metadata_mut().as_mut().insert("grpc-accept-encoding", spoken);
        }
        status
    }
}

/// What came of a request that was answered with `status`, which is not OK.
pub fn from_grpc(batch: Batch, status: &Status) -> Rejected {
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
    let rejected = Rejected {
        retry_after: retry_after.filter(|_| retryable),
        reached: Reached::Answered,
        ..rejected
    };
    match u8::try_from(i32::from(status.code())) {
        Ok(code) => rejected.code(code),
        Err(_) => rejected,
    }
}

/// Whether it says that the request was taken.
pub(in crate::transport) fn is_ok(status: &Status) -> bool {
    status.code() == Code::Ok
}

/// Whether it says that there is no such method.
pub(in crate::transport) fn is_unknown_method(status: &Status) -> bool {
    status.code() == Code::Unimplemented
}

/// The status that stands for an answer which has none of its own.
/// Source: grpc doc/http-grpc-status-mapping.md.
pub(in crate::transport) fn answer_is_not_grpc(status: ::http::StatusCode) -> Status {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("the destination answered {status}, and not as gRPC does"))
}

/// The status that stands for an answer of more than `limit` bytes.
pub(in crate::transport) fn answer_too_large(limit: usize) -> Status {
    let text = format!("the destination's answer is larger than the limit of {limit} bytes");
    Status::new(Code::ResourceExhausted, text)
}

fn reason(description: &str, message: &str) -> Cow<'static, str> {
    match message {
        "" => format!("the destination answered: {description}").into(),
        message => message.to_owned().into(),
    }
}
