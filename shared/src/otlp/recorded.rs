//! Requests in files, in the forms of the Collector's `file` exporter.
//!
//! ```text
//! JSON, plain     │ {"resourceSpans":…} \n │ {"resourceSpans":…} \n │ …
//! all others      │ length │ message │ length │ message │ …      length: 4 bytes, big endian
//! read, too       │ message                                      protobuf
//! ```
//! A message is the request as protobuf or as JSON; with the Collector's `compression: zstd` it is
//! a zstd frame of either. Around the whole file there may be gzip or zstd too. A
//! [reader](Recorded) finds out by itself, since no length is as large as one of these letters or
//! magic numbers would be. Which signal a protobuf message is of the file does not say.
//!
//! Source: contrib `exporter/fileexporter/{marshaller,file_writer,compression_writer}.go`.

mod reader;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

pub use reader::{Recorded, RecordedError};

use crate::batch::Batch;
use crate::config::Compression;
use crate::transport::compression::compress;
use crate::wire::json::{self, JsonError};

/// The largest message that is read, inflated.
pub const MAX_MESSAGE_BYTES: usize = 128 << 20;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OTLP/JSON.
    Json,
    /// Protobuf.
    Proto,
}

/// How messages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// Each by itself with zstd.
    EachZstd,
    /// The file as a whole, in pieces that are complete by themselves.
    Whole(Compression),
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The messages.
    pub format: Format,
    /// Their compression.
    pub packing: Packing,
}

impl Form {
    /// The form that a file's name asks for: JSON for `.json` and `.jsonl`, else protobuf; with
    /// `.gz` or `.zst` behind that the whole file is compressed.
    pub fn by_name(path: &Path) -> Self {
        let is = |path: &Path, ends: &[&str]| {
            path.extension().is_some_and(|end| ends.iter().any(|known| end == *known))
        };
        let (packing, inner) = match path {
            _ if is(path, &["gz"]) => (Packing::Whole(Compression::Gzip), path.with_extension("")),
            _ if is(path, &["zst"]) => (Packing::Whole(Compression::Zstd), path.with_extension("")),
            _ => (Packing::Plain, path.to_owned()),
        };
        let format = match is(&inner, &["json", "jsonl"]) {
            true => Format::Json,
            false => Format::Proto,
        };
        Self { format, packing }
    }

    /// Appends a request to a piece of the file, which is then to be [packed](Form::pack).
    ///
    /// # Errors
    /// When the request cannot be written as JSON, or is larger than a length can say; the piece is
    /// as it was.
    pub fn put(self, batch: &Batch, piece: &mut Vec<u8>) -> Result<(), PutError> {
        let mut json = Vec::new();
        let message = match self.format {
            Format::Proto => &batch.bytes()[..],
            Format::Json => {
                json::encode(batch.signal(), batch.bytes(), &mut json)?;
                &json[..]
            }
        };
        match (self.format, self.packing) {
            (_, Packing::EachZstd) => put_framed(&compress(Compression::Zstd, message)?, piece),
            (Format::Proto, _) => put_framed(message, piece),
            (Format::Json, _) => {
                piece.extend_from_slice(message);
                piece.push(b'\n');
                Ok(())
            }
        }
    }

    /// A piece as it stands in the file. Pieces follow each other without anything in between.
    ///
    /// # Errors
    /// Of the compressor, which has none to expect.
    pub fn pack(self, piece: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.packing {
            Packing::Whole(compression) if !piece.is_empty() => compress(compression, &piece),
            _ => Ok(piece),
        }
    }
}

fn put_framed(message: &[u8], piece: &mut Vec<u8>) -> Result<(), PutError> {
    let length = u32::try_from(message.len()).map_err(|_| PutError::TooLarge)?;
    piece.extend_from_slice(&length.to_be_bytes());
    piece.extend_from_slice(message);
    Ok(())
}

/// Why a request cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It is no JSON.
    #[error("the request cannot be written as JSON: {0}")]
    Json(#[from] JsonError),
    /// It is too large.
    #[error("the request is larger than 4 GiB")]
    TooLarge,
    /// The compressor failed.
    #[error("the request cannot be compressed: {0}")]
    Compress(#[from] io::Error),
}
