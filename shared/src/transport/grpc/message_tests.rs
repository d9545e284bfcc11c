use std::sync::Arc;
use std::time::Duration;

use http_body::Frame;

use super::*;
use crate::config::{Compression, CompressionParams};
use crate::transport::budget::Budget;

const LIMIT: usize = 100_000;

fn message(parts: &[&'static [u8]]) -> Message {
    let mut parts = parts.iter().map(|part| Bytes::from_static(part));
    let first = parts.next().unwrap();
    Message::new(Compressor::NONE, first, parts).unwrap()
}

/// What a sender puts on the wire.
fn framed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let compressor = Compressor::new(compression, &CompressionParams::default());
    let mut message = Message::new(compressor, Bytes::copy_from_slice(bytes), []).unwrap();
    message.copy_to_bytes(message.remaining()).to_vec()
}

/// A body of these frames.
pub(in crate::transport::grpc) struct Frames(pub(in crate::transport::grpc) VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// Reads what came in these frames.
async fn read_frames(
    frames: Vec<Bytes>,
    coding: Option<Coding>,
    limit: usize,
) -> Result<Bytes, Unread> {
    let mut ticket = Arc::new(Budget::new(usize::MAX, Duration::ZERO)).begin().await.unwrap();
    read(Frames(frames.into_iter().map(Frame::data).collect()), &mut ticket, coding, limit).await
}

fn cut(bytes: &[u8], size: usize) -> Vec<Bytes> {
    bytes.chunks(size).map(Bytes::copy_from_slice).collect()
}

#[test]
fn parts_leave_as_one_message_and_are_not_copied() {
    let parts: [&'static [u8]; 5] = [b"", b"abc", b"", b"defg", b""];
    let message = message(&parts);
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(message.chunks_vectored(&mut slices), 3);
    assert_eq!(&slices[0][..], [0, 0, 0, 0, 7]);
    assert_eq!(slices[1].as_ptr(), parts[1].as_ptr());
    assert_eq!(slices[2].as_ptr(), parts[3].as_ptr());
    assert_eq!(message.remaining(), 12);
}

#[test]
fn a_message_can_be_taken_in_steps_of_any_size() {
    for step in 1..=12 {
        let (mut message, mut taken) = (message(&[b"abc", b"", b"defg"]), Vec::new());
        while message.has_remaining() {
            let count = step.min(message.chunk().len());
            taken.extend_from_slice(&message.chunk()[..count]);
            message.advance(count);
        }
        assert_eq!(taken, b"\0\0\0\0\x07abcdefg", "{step}");
        let mut message = self::message(&[b"abc", b"defg"]);
        message.advance(step);
        assert_eq!(message.remaining(), 12 - step);
        assert_eq!(message.copy_to_bytes(12 - step), b"\0\0\0\0\x07abcdefg"[step..]);
    }
}

#[test]
fn an_empty_message_is_a_prefix_of_zeros() {
    assert_eq!(framed(Compression::None, b""), [0; PREFIX]);
}

#[tokio::test]
async fn a_message_is_read_however_it_is_cut_into_frames() {
    let bytes: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let codings = [
        (Compression::None, None),
        (Compression::Gzip, Some(Coding::Gzip)),
        (Compression::Zstd, Some(Coding::Zstd)),
        (Compression::SnappyFramed, Some(Coding::SnappyFramed)),
    ];
    for (compression, coding) in codings {
        let framed = framed(compression, &bytes);
        for size in [1, 3, 5, 7, 6000, framed.len()] {
            let read = read_frames(cut(&framed, size), coding, LIMIT).await.unwrap();
            assert_eq!(read, bytes, "{compression:?} in frames of {size}");
        }
    }
}

#[tokio::test]
async fn a_large_message_of_one_frame_is_not_copied_and_a_small_one_is() {
    for (size, shares) in [(SMALL, true), (SMALL - 1, false)] {
        let frame = Bytes::from(framed(Compression::None, &vec![7; size]));
        let read = read_frames(vec![frame.clone()], None, LIMIT).await.unwrap();
        assert_eq!(read.as_ptr() == frame[PREFIX..].as_ptr(), shares, "{size}");
    }
}

#[tokio::test]
async fn a_message_above_the_limit_is_not_waited_for() {
    let mut reader = Reader::new(10);
    let prefix = Bytes::from_static(&[0, 0, 0, 0, 11]);
    assert_eq!(reader.take(prefix), Err(Unread::TooLarge(10)));
    let bomb = framed(Compression::Gzip, &vec![0; LIMIT + 1]);
    let read = read_frames(vec![bomb.into()], Some(Coding::Gzip), LIMIT).await;
    assert_eq!(read, Err(Unread::TooLarge(LIMIT)));
}

#[tokio::test]
async fn what_is_no_message_is_told() {
    let cases: [(&'static [u8], &str); 6] = [
        (b"", "no message"),
        (b"\0\0\0", "the message was not sent to its end"),
        (b"\0\0\0\0\x02a", "the message was not sent to its end"),
        (b"\0\0\0\0\x01ab", "more than one message"),
        (b"\x02\0\0\0\x01a", "not framed as gRPC"),
        (b"\x01\0\0\0\x01a", "a compressed message without grpc-encoding"),
    ];
    for (bytes, told) in cases {
        let read = read_frames(vec![Bytes::from_static(bytes)], None, LIMIT).await;
        assert_eq!(read, Err(Unread::Broken(told.into())), "{bytes:?}");
    }
    let corrupt = vec![Bytes::from_static(b"\x01\0\0\0\x01a")];
    let read = read_frames(corrupt, Some(Coding::Gzip), LIMIT).await;
    assert!(matches!(read, Err(Unread::BadCompression(_))), "{read:?}");
}
