//! A gRPC answer: a message that is small, and a status that counts.

use std::error::Error;
use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::Body;
use http_body_util::BodyExt;
use tonic::Status;

use super::message::Reader;
use crate::transport::compression::{self, Coding};
use crate::transport::status;

/// Largest message that is read; it is only there to say what went wrong. Of a larger one the
/// status counts.
const MAX_MESSAGE: usize = 64 * 1024;

/// Bytes of an answer that are waited through for its status.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Why there is no message.
#[derive(Debug)]
pub(super) enum Failure {
    /// The peer said no.
    Status(Status),
    /// The answer ended before its status.
    CutOff(Box<dyn Error + Send + Sync>),
}

/// The answer ended without a status.
#[derive(Debug, thiserror::Error)]
#[error("the answer ended without a status")]
struct NoStatus;

/// Reads an answer to its end.
///
/// A message that cannot be read is as good as an empty one, since the status says that the
/// request was taken.
pub(super) async fn read<B>(response: Response<B>) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let (head, body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return match status::is_ok(&status) {
            true => Ok(Bytes::new()),
            false => Err(Failure::Status(status)),
        };
    }
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    if !head.status.is_success() || !is_grpc {
        return Err(Failure::Status(status::answer_is_not_grpc(head.status)));
    }
    let (mut body, mut size) = (pin!(body), 0);
    let mut reader = Some(Reader::new(MAX_MESSAGE));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::CutOff(error.into()))?;
        match frame.into_data() {
            Ok(data) => {
                size += data.len();
                if size > MAX_BODY {
                    return Err(Failure::Status(status::answer_too_large(MAX_BODY)));
                }
                reader = reader.and_then(|mut reader| reader.take(data).is_ok().then_some(reader));
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                if let Some(status) = Status::from_header_map(&trailers) {
                    return match status::is_ok(&status) {
                        true => Ok(message(reader, &head.headers)),
                        false => Err(Failure::Status(status)),
                    };
                }
            }
        }
    }
    Err(Failure::CutOff(Box::new(NoStatus)))
}

fn message(reader: Option<Reader>, headers: &HeaderMap) -> Bytes {
    let Some(Ok((is_compressed, message))) = reader.map(Reader::finish) else {
        return Bytes::new();
    };
    if !is_compressed {
        return message;
    }
    // Some servers answer as they were asked, whatever the client said it reads.
    let encoding = headers.get("grpc-encoding").and_then(|value| value.to_str().ok());
    let inflated = encoding
        .and_then(Coding::by_name)
        .and_then(|coding| compression::inflate(coding, &message, MAX_MESSAGE).ok());
    inflated.map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use http::{HeaderValue, StatusCode};
    use http_body::Frame;

    use super::super::message::{Message, tests::Frames};
    use super::*;
    use crate::config::{Compression, CompressionParams};
    use crate::transport::compression::Compressor;

    fn data(bytes: &'static [u8]) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(bytes))
    }

    fn trailers(headers: &[(&'static str, &'static str)]) -> Frame<Bytes> {
        Frame::trailers(self::headers(headers))
    }

    fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let of = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        headers.iter().map(of).collect()
    }

    fn response(frames: Vec<Frame<Bytes>>) -> Response<Frames> {
        let mut response = Response::new(Frames(frames.into()));
        *response.headers_mut() = headers(&[("content-type", "application/grpc+proto")]);
        response
    }

    #[track_caller]
    fn check_status(read: Result<Bytes, Failure>, code: i32, message: &str) {
        match read {
            Err(Failure::Status(status)) => {
                assert_eq!(i32::from(status.code()), code);
                assert!(status.message().contains(message), "{status:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_message_counts_when_the_trailers_say_that_all_is_well() {
        let frames = vec![data(b"\0\0\0"), data(b"\0\x02"), data(b"ab")];
        let ok = trailers(&[("grpc-status", "0")]);
        let read = read(response(frames.into_iter().chain([ok]).collect())).await;
        assert_eq!(read.unwrap(), "ab");
    }

    #[tokio::test]
    async fn trailers_say_why_not() {
        let no = [("grpc-status", "14"), ("grpc-message", "try%20again%3A%20%C3%BC")];
        let read = read(response(vec![data(b"\0\0\0\0\0"), trailers(&no)])).await;
        check_status(read, 14, "try again: ü");
    }

    #[tokio::test]
    async fn headers_alone_say_why_not() {
        let mut response = response(vec![]);
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("8"));
        check_status(read(response).await, 8, "");
    }

    #[tokio::test]
    async fn an_answer_of_something_else_goes_by_its_http_status() {
        let mut unavailable = response(vec![data(b"<html>")]);
        *unavailable.status_mut() = StatusCode::BAD_GATEWAY;
        check_status(read(unavailable).await, 14, "502");
        let mut page = response(vec![data(b"<html>")]);
        page.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
        check_status(read(page).await, 2, "200");
    }

    #[tokio::test]
    async fn an_answer_without_a_status_is_cut_off() {
        let read = read(response(vec![data(b"\0\0\0\0\0")])).await;
        assert!(matches!(read, Err(Failure::CutOff(_))), "{read:?}");
    }

    #[tokio::test]
    async fn of_a_message_that_cannot_be_read_the_status_counts() {
        let large = Bytes::from(vec![0; MAX_MESSAGE + 6]);
        for message in
            [Bytes::from_static(b"nonsense"), large, Bytes::from_static(b"\0\0\0\0\x05a")]
        {
            let frames = vec![Frame::data(message), trailers(&[("grpc-status", "0")])];
            assert_eq!(read(response(frames)).await.unwrap(), "");
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_given_up() {
        let frame = Bytes::from(vec![0; MAX_BODY]);
        let frames = vec![Frame::data(frame.clone()), Frame::data(frame)];
        check_status(read(response(frames)).await, 8, "larger than the limit");
    }

    #[tokio::test]
    async fn a_compressed_message_is_read() {
        let message = Bytes::from_static(b"partial success");
        let gzip = Compressor::new(Compression::Gzip, &CompressionParams::default());
        let mut message = Message::new(gzip, message, []).unwrap();
        let message = message.copy_to_bytes(message.remaining());
        let frames = vec![Frame::data(message), trailers(&[("grpc-status", "0")])];
        let mut response = response(frames);
        response.headers_mut().insert("grpc-encoding", HeaderValue::from_static("gzip"));
        assert_eq!(read(response).await.unwrap(), "partial success");
    }
}
