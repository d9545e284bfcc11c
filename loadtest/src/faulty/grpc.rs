//! gRPC answers, also those that a proper server would not give.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use shared::wire::Writer;
use std::convert::Infallible;

/// The codes that are answered with here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument = 3,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
}

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The message of a request that came with its frame; `None` when the frame is not whole or the
/// message is compressed.
pub(crate) fn message(framed: &Bytes) -> Option<Bytes> {
    let (prefix, _) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes")) as usize;
    (prefix[0] == 0 && framed.len() == 5 + length).then(|| framed.slice(5..))
}

/// Success; `rejected` items were not taken.
pub(crate) fn success(rejected: usize) -> Answer {
    let mut message = Writer::new();
    if rejected > 0 {
        message.message(1, |partial| {
            partial.varint(1, rejected as u64);
            partial.bytes(2, b"told to take a part only");
        });
    }
    let length = u32::try_from(message.len()).expect("the message is short");
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message.as_slice());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
    answer(body.boxed_unsync())
}

/// A failure, with a `RetryInfo` if there is a delay.
pub(crate) fn failure(code: Code, text: &'static str, delay: Option<Duration>) -> Answer {
    let mut answer = answer(Empty::new().boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(code as u16));
    headers.insert("grpc-message", HeaderValue::from_static(text));
    if let Some(delay) = delay {
        let details = STANDARD_NO_PAD.encode(status(code, text, delay));
        let details = HeaderValue::from_str(&details).expect("base64 is ASCII");
        headers.insert("grpc-status-details-bin", details);
    }
    answer
}

fn answer(body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    let content_type = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}

/// A `google.rpc.Status` with a `RetryInfo`.
fn status(code: Code, text: &str, delay: Duration) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.varint(1, code as u64);
    writer.bytes(2, text.as_bytes());
    writer.message(3, |detail| {
        detail.bytes(1, b"type.googleapis.com/google.rpc.RetryInfo");
        detail.message(2, |info| {
            info.message(1, |duration| {
                duration.varint(1, delay.as_secs());
                duration.varint(2, u64::from(delay.subsec_nanos()));
            });
        });
    });
    writer.into_vec()
}
