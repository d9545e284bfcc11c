//! Compresses an answer while it is sent.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::{Body, Frame};

use super::scrape::{Pieces, Step};

/// How much is sent at a time.
const CHUNK_BYTES: usize = 32 << 10;

/// Pieces of content, compressed. Fast rather than small: scrapers are near, and text that
/// repeats its labels shrinks anyway.
pub(super) struct Gzipped<P> {
    pieces: P,
    /// Gone when all is written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<P> Gzipped<P> {
    pub(super) fn new(pieces: P) -> Self {
        Self { pieces, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl<P: Pieces> Pieces for Gzipped<P> {
    fn step(&mut self) -> Step {
        let Some(mut encoder) = self.encoder.take() else { return Step::Done };
        // Into memory, which does not fail.
        match self.pieces.step() {
            Step::Working => {}
            Step::Done => return encoder.finish().map_or(Step::Done, Step::Piece),
            Step::Piece(piece) => match encoder.write_all(&piece) {
                Ok(()) => {}
                Err(_) => return Step::Done,
            },
        }
        let step = match encoder.get_ref().len() {
            ..CHUNK_BYTES => Step::Working,
            _ => Step::Piece(std::mem::take(encoder.get_mut())),
        };
        self.encoder = Some(encoder);
        step
    }
}

impl<P: Pieces + Unpin> Body for Gzipped<P> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.step().poll(cx)
    }
}
