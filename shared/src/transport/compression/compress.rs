//! Compresses what is sent.

use std::cell::RefCell;
use std::io::{self, Write};

use crate::config::{Compression, CompressionParams};

/// Window of gzip, the largest there is: 32 KiB.
const DEFLATE_WINDOW_LOG: u8 = 15;

/// Room for what is around a stream of nothing.
const SMALLEST_ROOM: usize = 64;

thread_local! {
    /// A context would cost more to make than a small body to compress.
    static ZSTD: RefCell<zstd::bulk::Compressor<'static>> = RefCell::default();

    static DEFLATE: RefCell<Option<Deflate>> = const { RefCell::new(None) };
}

/// The `Content-Encoding` of what [`compress`] makes.
pub fn content_encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
        Compression::Zlib => Some("deflate"),
        Compression::Snappy => Some("snappy"),
        Compression::SnappyFramed => Some("x-snappy-framed"),
        Compression::Lz4 => Some("lz4"),
    }
}

/// Compresses `bytes` at the default level.
///
/// # Errors
/// Of the compressor, which has none to expect.
pub fn compress(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
    Compressor::new(compression, &CompressionParams::default()).compress(bytes)
}

/// How messages and bodies are compressed, and how hard.
#[derive(Debug, Clone, Copy)]
pub struct Compressor {
    compression: Compression,
    /// For those that have levels.
    level: u8,
}

impl Compressor {
    /// Leaves bytes as they are.
    pub const NONE: Self = Self { compression: Compression::None, level: 0 };

    /// Of a client's settings.
    pub fn new(compression: Compression, params: &CompressionParams) -> Self {
        Self { compression, level: params.level_of(compression) }
    }

    /// Whether it does anything.
    pub fn compresses(self) -> bool {
        self.compression != Compression::None
    }

    /// Compresses `bytes`.
    ///
    /// # Errors
    /// Of the compressor, which has none to expect.
    pub fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let room = || Vec::with_capacity(bytes.len() / 4);
        match self.compression {
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip => deflate(Wrapper::Gzip, self.level, bytes),
            Compression::Zlib => deflate(Wrapper::Zlib, self.level, bytes),
            Compression::Zstd => ZSTD.with_borrow_mut(|context| {
                context.set_compression_level(self.level.into())?;
                context.compress(bytes)
            }),
            Compression::Snappy => {
                snap::raw::Encoder::new().compress_vec(bytes).map_err(io::Error::other)
            }
            Compression::SnappyFramed => {
                let mut encoder = snap::write::FrameEncoder::new(room());
                encoder.write_all(bytes)?;
                encoder.into_inner().map_err(|error| io::Error::other(error.to_string()))
            }
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(room());
                encoder.write_all(bytes)?;
                encoder.finish().map_err(io::Error::other)
            }
        }
    }
}

/// What stands around a stream of deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrapper {
    Gzip,
    Zlib,
}

/// A compressor that is used again: its tables are some 300 KiB, which cost more to make and clear
/// than a small body to compress.
struct Deflate {
    made_for: (Wrapper, u8),
    state: flate2::Compress,
}

impl Deflate {
    fn new(wrapper: Wrapper, level: u8) -> Self {
        let flate_level = flate2::Compression::new(level.into());
        let state = match wrapper {
            Wrapper::Gzip => flate2::Compress::new_gzip(flate_level, DEFLATE_WINDOW_LOG),
            Wrapper::Zlib => flate2::Compress::new(flate_level, true),
        };
        Self { made_for: (wrapper, level), state }
    }
}

fn deflate(wrapper: Wrapper, level: u8, bytes: &[u8]) -> io::Result<Vec<u8>> {
    DEFLATE.with_borrow_mut(|kept| {
        let Deflate { state, .. } = match kept {
            Some(deflate) if deflate.made_for == (wrapper, level) => {
                deflate.state.reset();
                deflate
            }
            _ => kept.insert(Deflate::new(wrapper, level)),
        };
        let mut compressed = Vec::with_capacity(bytes.len() / 3 + SMALLEST_ROOM);
        let mut rest = bytes;
        loop {
            let read_before = state.total_in();
            let finish = flate2::FlushCompress::Finish;
            let status = state.compress_vec(rest, &mut compressed, finish)?;
            if status == flate2::Status::StreamEnd {
                return Ok(compressed);
            }
            let read = usize::try_from(state.total_in() - read_before).map_err(io::Error::other)?;
            rest = rest.get(read..).unwrap_or_default();
            compressed.reserve(compressed.len() / 2);
        }
    })
}

/// Compresses `bytes` under every name that is read.
#[cfg(test)]
pub(crate) fn compress_as(name: &str, bytes: &[u8]) -> Vec<u8> {
    let compression = match name {
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        "zlib" | "deflate" => Compression::Zlib,
        "snappy" => Compression::Snappy,
        "x-snappy-framed" => Compression::SnappyFramed,
        "lz4" => Compression::Lz4,
        _ => Compression::None,
    };
    compress(compression, bytes).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::compression::{Coding, inflate};

    #[track_caller]
    fn inflated(name: &str, compressed: &[u8], limit: usize) -> Vec<u8> {
        inflate(Coding::by_name(name).unwrap(), compressed, limit).unwrap()
    }

    #[test]
    fn a_higher_level_makes_less_of_the_same() {
        let words = (0..20_000_u32).map(|n| format!("span {} of {} ", n % 613, n % 97));
        let text = words.collect::<String>().into_bytes();
        let codings = [Compression::Gzip, Compression::Zlib, Compression::Zstd];
        for (compression, name) in codings.into_iter().zip(["gzip", "zlib", "zstd"]) {
            let [low, high] = [1, 9].map(|level| {
                let compressor = Compressor::new(compression, &CompressionParams { level });
                let compressed = compressor.compress(&text).unwrap();
                assert_eq!(inflated(name, &compressed, text.len()), text, "{name}");
                compressed.len()
            });
            assert!(high < low, "{name}: {high} and {low}");
        }
    }

    #[test]
    fn a_compressor_used_again_makes_what_a_new_one_makes() {
        let lines = (0..5_000).map(|n| format!("span {} of trace {}\n", n % 97, n * n / 7));
        let bytes = lines.collect::<String>().into_bytes();
        let level = |level| CompressionParams { level };
        for (name, compression) in
            [("gzip", Compression::Gzip), ("zlib", Compression::Zlib), ("zstd", Compression::Zstd)]
        {
            let compressor = Compressor::new(compression, &level(1));
            let first = compressor.compress(&bytes).unwrap();
            // Incompressible and empty ones, and another level, between.
            for other in [&bytes[..0], &bytes[..1], &first] {
                let hard = Compressor::new(compression, &level(9)).compress(other).unwrap();
                assert_eq!(inflated(name, &hard, other.len()), other, "{name}");
            }
            assert_eq!(compressor.compress(&bytes).unwrap(), first, "{name}");
            assert_eq!(inflated(name, &first, bytes.len()), bytes, "{name}");
            let hard = Compressor::new(compression, &level(9)).compress(&bytes).unwrap();
            assert_ne!(hard, first, "{name}: the level makes no difference");
        }
    }
}
