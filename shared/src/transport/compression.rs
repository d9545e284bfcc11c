//! Compression: the only file of ours that inflates, and always under a cap.

use std::cell::RefCell;
use std::io::{self, BufRead, Read, Write};

use zstd::zstd_safe::DCtx;

use super::status::Unread;
use crate::config::{Compression, CompressionParams};

/// Largest window that a zstd stream may ask for: 8 MiB, as RFC 8878 recommends.
const ZSTD_WINDOW_LOG: u32 = 23;

/// What every framed snappy stream begins with.
const SNAPPY_MAGIC: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Window of gzip, the largest there is: 32 KiB.
const DEFLATE_WINDOW_LOG: u8 = 15;

/// Room for what is around a stream of nothing.
const SMALLEST_ROOM: usize = 64;

thread_local! {
    /// A context is some 100 KiB, which would cost more to make than a small body to inflate.
    static ZSTD: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());

    /// The same, for compressing.
    static ZSTD_OUT: RefCell<zstd::bulk::Compressor<'static>> = RefCell::default();

    static DEFLATE: RefCell<Option<Deflate>> = const { RefCell::new(None) };
}

/// How a message that was received is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// gzip, in one member or several.
    Gzip,
    /// Zstandard.
    Zstd,
    /// zlib, which HTTP calls deflate.
    Zlib,
    /// Snappy, as one block or framed: the Collector sent frames under this name for long.
    Snappy,
    /// Snappy, framed.
    SnappyFramed,
    /// LZ4, framed.
    Lz4,
}

impl Coding {
    /// The names that [`Coding::by_name`] knows.
    pub const NAMES: [&str; 7] =
        ["gzip", "zstd", "zlib", "snappy", "deflate", "lz4", "x-snappy-framed"];

    /// How a `Content-Encoding` compresses. Source: collector config/confighttp/compression.go.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "gzip" => Some(Coding::Gzip),
            "zstd" => Some(Coding::Zstd),
            "zlib" | "deflate" => Some(Coding::Zlib),
            "snappy" => Some(Coding::Snappy),
            "x-snappy-framed" => Some(Coding::SnappyFramed),
            "lz4" => Some(Coding::Lz4),
            _ => None,
        }
    }
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

/// Inflates `compressed`, which must not become larger than `limit` bytes.
///
/// # Errors
/// [`Unread::TooLarge`] at the limit, whatever may follow; [`Unread::BadCompression`].
#[allow(clippy::disallowed_types, reason = "the one place that inflates, under a cap")]
pub fn inflate(coding: Coding, compressed: &[u8], limit: usize) -> Result<Vec<u8>, Unread> {
    let mut inflated = Capped::new(compressed.len(), limit);
    match coding {
        Coding::Gzip => inflated.read(flate2::read::MultiGzDecoder::new(compressed))?,
        Coding::Zlib => inflated.read(flate2::read::ZlibDecoder::new(compressed))?,
        Coding::Zstd => ZSTD.with_borrow_mut(|context| {
            let reset = zstd::zstd_safe::ResetDirective::SessionAndParameters;
            if context.reset(reset).is_err() {
                *context = DCtx::create();
            }
            let mut decoder = zstd::stream::read::Decoder::with_context(compressed, context);
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| corrupt(&error))?;
            inflated.read(decoder)
        })?,
        Coding::Snappy if !compressed.starts_with(SNAPPY_MAGIC) => {
            return inflate_snappy_block(compressed, limit);
        }
        Coding::Snappy | Coding::SnappyFramed => {
            inflated.read(snap::read::FrameDecoder::new(compressed))?;
        }
        Coding::Lz4 => {
            let mut decoder = lz4_flex::frame::FrameDecoder::new(compressed);
            // The decoder ends with each frame; frames join by concatenation.
            loop {
                inflated.read(&mut decoder)?;
                if decoder.get_ref().is_empty() {
                    break;
                }
            }
        }
    }
    Ok(inflated.bytes)
}

/// Inflates what `compressed` gives as it is read. Holds no more than a window of the format; who
/// reads bounds the rest.
///
/// # Errors
/// When there is no such stream; while reading, when it is corrupt or cut off.
#[allow(clippy::disallowed_types, reason = "the one place that inflates; nothing is kept")]
pub fn inflating(
    coding: Coding,
    compressed: impl BufRead + Send + 'static,
) -> io::Result<Box<dyn Read + Send>> {
    Ok(match coding {
        Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
        Coding::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(compressed)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(compressed)?),
        Coding::Snappy | Coding::SnappyFramed => {
            Box::new(snap::read::FrameDecoder::new(compressed))
        }
        Coding::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(compressed)),
    })
}

/// A block says its length in front, which is looked at before anything is allocated.
#[allow(clippy::disallowed_types, reason = "the one place that inflates, under a cap")]
fn inflate_snappy_block(compressed: &[u8], limit: usize) -> Result<Vec<u8>, Unread> {
    let length = snap::raw::decompress_len(compressed).map_err(|error| corrupt(&error))?;
    if length > limit {
        return Err(Unread::TooLarge(limit));
    }
    snap::raw::Decoder::new().decompress_vec(compressed).map_err(|error| corrupt(&error))
}

fn corrupt(error: &dyn std::error::Error) -> Unread {
    Unread::BadCompression(error.to_string())
}

/// Bytes that were inflated so far.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
}

impl Capped {
    fn new(compressed: usize, limit: usize) -> Self {
        // Telemetry shrinks to a fifth or so.
        Self { bytes: Vec::with_capacity(compressed.saturating_mul(5).min(limit)), limit }
    }

    /// Reads `decoder` to its end, or up to the limit.
    fn read(&mut self, decoder: impl Read) -> Result<(), Unread> {
        // One byte more than the limit tells a body of just the limit from a larger one.
        let room = self.limit - self.bytes.len() + 1;
        match decoder.take(room as u64).read_to_end(&mut self.bytes) {
            Ok(_) if self.bytes.len() > self.limit => Err(Unread::TooLarge(self.limit)),
            Ok(_) => Ok(()),
            Err(error) => Err(corrupt(&error)),
        }
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
            Compression::Zstd => ZSTD_OUT.with_borrow_mut(|context| {
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

    fn inflate(name: &str, compressed: &[u8], limit: usize) -> Result<Vec<u8>, Unread> {
        super::inflate(Coding::by_name(name).unwrap(), compressed, limit)
    }

    #[test]
    fn what_was_compressed_inflates_up_to_the_limit() {
        let bytes: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        for name in Coding::NAMES {
            let compressed = compress_as(name, &bytes);
            assert_eq!(inflate(name, &compressed, bytes.len()).unwrap(), bytes, "{name}");
            let over = inflate(name, &compressed, bytes.len() - 1);
            assert_eq!(over, Err(Unread::TooLarge(bytes.len() - 1)), "{name}");
        }
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
                assert_eq!(inflate(name, &compressed, text.len()).unwrap(), text, "{name}");
                compressed.len()
            });
            assert!(high < low, "{name}: {high} and {low}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        const LIMIT: usize = 1024 * 1024;
        let zeros = vec![0; LIMIT];
        for name in ["gzip", "zstd", "lz4", "x-snappy-framed"] {
            // These formats join streams by concatenation: this would be 64 MiB and more.
            let bomb = compress_as(name, &zeros).repeat(64);
            assert!(bomb.len() < 4 * LIMIT, "{name}: {}", bomb.len());
            assert_eq!(inflate(name, &bomb, LIMIT), Err(Unread::TooLarge(LIMIT)), "{name}");
        }
        // A block of snappy that says it holds 4 GiB, and one whose length is no number.
        let liar = inflate("snappy", b"\xff\xff\xff\xff\x0f\x00a", LIMIT);
        assert_eq!(liar, Err(Unread::TooLarge(LIMIT)));
        let broken = inflate("snappy", &[0xff; 8], LIMIT);
        assert!(matches!(broken, Err(Unread::BadCompression(_))), "{broken:?}");
    }

    #[test]
    fn corrupt_and_cut_off_streams_are_refused_and_the_next_one_is_read() {
        for name in Coding::NAMES {
            let compressed = compress_as(name, &[7; 1000]);
            let cut = inflate(name, &compressed[..compressed.len() - 5], 1000);
            assert!(matches!(cut, Err(Unread::BadCompression(_))), "{name}: {cut:?}");
            let corrupt = inflate(name, b"no such thing", 1000);
            assert!(matches!(corrupt, Err(Unread::BadCompression(_))), "{name}: {corrupt:?}");
            assert_eq!(inflate(name, &compressed, 1000).unwrap(), [7; 1000], "{name}");
        }
    }

    #[test]
    fn snappy_is_told_from_its_framed_form_by_its_first_bytes() {
        let framed = compress_as("x-snappy-framed", b"spans");
        assert_eq!(inflate("snappy", &framed, 100).unwrap(), b"spans");
        let block = compress_as("snappy", b"spans");
        let wrong = inflate("x-snappy-framed", &block, 100);
        assert!(matches!(wrong, Err(Unread::BadCompression(_))), "{wrong:?}");
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
                assert_eq!(inflate(name, &hard, other.len()).unwrap(), other, "{name}");
            }
            assert_eq!(compressor.compress(&bytes).unwrap(), first, "{name}");
            assert_eq!(inflate(name, &first, bytes.len()).unwrap(), bytes, "{name}");
            let hard = Compressor::new(compression, &level(9)).compress(&bytes).unwrap();
            assert_ne!(hard, first, "{name}: the level makes no difference");
        }
    }
}
