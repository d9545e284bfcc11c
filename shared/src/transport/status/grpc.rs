//! gRPC.

use std::borrow::Cow;

use ::http::{HeaderValue, Response};
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};

use super::{Unread, connection_failed, is_retryable, permanent_code, retry_delay, status_message};
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

/// The answer to what is not gRPC at all.
pub fn not_grpc<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = ::http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

impl Unread {
    /// What tonic's reading of a message ended with.
    ///
    /// It says `OUT_OF_RANGE` of a message above the limit, which OTLP clients would send again
    /// for ever, and `RESOURCE_EXHAUSTED` of one that exceeds it when decompressed.
    pub(in crate::transport) fn from_tonic(
        status: &Status,
        encoding: Option<CompressionEncoding>,
        limit: usize,
    ) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::OutOfRange | Code::ResourceExhausted => Unread::TooLarge(limit),
            // The one text that tells a corrupt stream from broken framing.
            Code::Internal if encoding.is_some() && message.starts_with("Error decompressing") => {
                Unread::BadCompression(message)
            }
            _ => Unread::Broken(message.into()),
        }
    }

    /// The status that the sender is answered with.
    pub(in crate::transport) fn to_grpc(&self) -> Status {
        let (code, message) = self.answer();
        let mut status = Status::new(code, message);
        if let Unread::UnknownCompression(_) = self {
            let spoken = HeaderValue::from_static("gzip,zstd,identity");
            status.metadata_mut().as_mut().insert("grpc-accept-encoding", spoken);
        }
        status
    }
}

/// What came of a request that was answered with `status`, or not at all.
pub fn from_grpc(batch: Batch, status: &Status) -> Rejected {
    // A status with a source was made on this side, from an error of the connection.
    if let Some(source) = std::error::Error::source(status) {
        return connection_failed(batch, source);
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

fn reason(description: &str, message: &str) -> Cow<'static, str> {
    match message {
        "" => format!("the destination answered: {description}").into(),
        message => message.to_owned().into(),
    }
}
