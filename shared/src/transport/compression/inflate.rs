//! Inflates what was received: the only file of ours that does, and always under a cap.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};

use memchr::memmem;
use zstd::zstd_safe::DCtx;

use crate::transport::status::Unread;

/// Largest window that a zstd stream may ask for: 8 MiB, as RFC 8878 recommends.
const ZSTD_WINDOW_LOG: u32 = 23;

/// What every member of a gzip stream begins with: the magic number, and deflate, which is the only
/// method there is.
const GZIP_MAGIC: &[u8] = b"\x1f\x8b\x08";

/// One byte of deflate never becomes more than so many.
const DEFLATE_MOST: usize = 1032;

/// What every framed snappy stream begins with.
const SNAPPY_MAGIC: &[u8] = b"\xff\x06\x00\x00sNaPpY";

thread_local! {
    /// A context is some 100 KiB, which would cost more to make than a small body to inflate.
    static ZSTD: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());

    /// Its tables are built anew for each block in any case; this saves the allocation.
    static GZIP: RefCell<libdeflater::Decompressor> =
        RefCell::new(libdeflater::Decompressor::new());
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

/// Inflates `compressed`, which must not become larger than `limit` bytes.
///
/// # Errors
/// [`Unread::TooLarge`] at the limit, whatever may follow; [`Unread::BadCompression`].
#[allow(clippy::disallowed_types, reason = "the one place that inflates, under a cap")]
pub fn inflate(coding: Coding, compressed: &[u8], limit: usize) -> Result<Vec<u8>, Unread> {
    if coding == Coding::Gzip
        && let Some(inflated) = inflate_member(compressed, limit)
    {
        return Ok(inflated);
    }
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

/// Inflates a gzip stream of one member that becomes no larger than `limit`, in half the time that
/// reading a stream takes. `None` for any other, and for what is corrupt: the reader of streams says
/// what is wrong.
fn inflate_member(compressed: &[u8], limit: usize) -> Option<Vec<u8>> {
    // A member ends with its length, modulo 2^32. Nothing is allocated for one that cannot be.
    let length = usize::try_from(u32::from_le_bytes(*compressed.last_chunk()?)).ok()?;
    if length > limit.min(compressed.len().saturating_mul(DEFLATE_MOST)) {
        return None;
    }
    // The library stops after a member and does not say where, so it must be the only one. A stream
    // that has the magic number by chance is read the other way.
    if memmem::find(compressed.get(1..)?, GZIP_MAGIC).is_some() {
        return None;
    }
    let mut bytes = vec![0; length];
    let inflated = GZIP.with_borrow_mut(|gzip| gzip.gzip_decompress(compressed, &mut bytes));
    inflated.is_ok_and(|inflated| inflated == length).then_some(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::compression::compress_as;

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
    fn all_members_of_a_gzip_stream_are_read_equal_ones_too() {
        let [one, two] = [&b"one"[..], b"two"].map(|bytes| compress_as("gzip", bytes));
        for (members, whole) in [
            (vec![&one, &two], &b"onetwo"[..]),
            (vec![&one, &one], b"oneone"),
            (vec![&one, &two, &one], b"onetwoone"),
            (vec![&one], b"one"),
        ] {
            let stream = members.into_iter().flatten().copied().collect::<Vec<u8>>();
            assert_eq!(inflate("gzip", &stream, 100).unwrap(), whole);
        }
    }

    #[test]
    fn a_gzip_member_is_inflated_as_the_reader_of_streams_does() {
        let bytes: Vec<u8> = (0..60_000_u32).flat_map(|n| (n * n % 8191).to_le_bytes()).collect();
        for length in [0, 1, 100, 65_536, bytes.len()] {
            let compressed = compress_as("gzip", &bytes[..length]);
            assert_eq!(inflate_member(&compressed, length).unwrap(), bytes[..length]);
            assert!(length == 0 || inflate_member(&compressed, length - 1).is_none());
            // The length it says, twice, its checksum, and its content.
            let end = compressed.len();
            for (at, bit) in [(end - 4, 1), (end - 1, 0x80), (end - 8, 1), (end - 9, 1)] {
                let mut wrong = compressed.clone();
                wrong[at] ^= bit;
                assert_eq!(inflate_member(&wrong, 1 << 20), None, "{length}, {at}");
                assert!(inflate("gzip", &wrong, 1 << 20).is_err(), "{length}, {at}");
            }
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
}
