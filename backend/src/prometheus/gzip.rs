//! Compresses an answer while it is sent.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::{Body, Frame};

/// How much is sent at a time.
const CHUNK_BYTES: usize = 32 << 10;

/// Pieces of content, compressed. Fast rather than small: scrapers are near, and text that
/// repeats its labels shrinks anyway.
pub(super) struct Gzipped<I> {
    pieces: I,
    /// Gone when all is written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I> Gzipped<I> {
    pub(super) fn new(pieces: I) -> Self {
        Self { pieces, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl<I: Iterator<Item = Vec<u8>>> Iterator for Gzipped<I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let encoder = self.encoder.as_mut()?;
        while encoder.get_ref().len() < CHUNK_BYTES {
            let Some(piece) = self.pieces.next() else {
                return self.encoder.take()?.finish().ok();
            };
            // Into memory, which does not fail.
            encoder.write_all(&piece).ok()?;
        }
        Some(std::mem::take(encoder.get_mut()))
    }
}

impl<I: Iterator<Item = Vec<u8>> + Unpin> Body for Gzipped<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece.into()))))
    }
}
