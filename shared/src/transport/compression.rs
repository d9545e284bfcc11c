//! Compression: the only file of ours that inflates, and always under a cap.
//!
//! gRPC messages are inflated by tonic's codec, under the same cap.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use zstd::zstd_safe::DCtx;

use super::status::Unread;
use crate::config::Compression;

/// Largest window that a zstd stream may ask for: 8 MiB, as RFC 8878 recommends.
const ZSTD_WINDOW_LOG: u32 = 23;

thread_local! {
    /// A context is some 100 KiB, which would cost more to make than a small body to inflate.
    static ZSTD: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// How the name of a `Content-Encoding` compresses.
pub fn by_name(name: &str) -> Option<Compression> {
    match name {
        "" | "identity" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "zstd" => Some(Compression::Zstd),
        "zlib" | "deflate" => Some(Compression::Zlib),
        _ => None,
    }
}

/// The `Content-Encoding` of what [`compress`] makes.
pub fn content_encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
        Compression::Zlib => Some("deflate"),
    }
}

/// Inflates `compressed`, which must not become larger than `limit` bytes.
///
/// # Errors
/// [`Unread::TooLarge`] at the limit, whatever may follow; [`Unread::BadCompression`].
#[allow(clippy::disallowed_types, reason = "the one place that inflates, under a cap")]
pub fn inflate(
    compression: Compression,
    compressed: &[u8],
    limit: usize,
) -> Result<Vec<u8>, Unread> {
    match compression {
        Compression::None => Err(Unread::BadCompression("nothing to inflate".to_owned())),
        Compression::Gzip => {
            read_capped(flate2::read::MultiGzDecoder::new(compressed), compressed.len(), limit)
        }
        Compression::Zlib => {
            read_capped(flate2::read::ZlibDecoder::new(compressed), compressed.len(), limit)
        }
        Compression::Zstd => ZSTD.with_borrow_mut(|context| {
            let reset = zstd::zstd_safe::ResetDirective::SessionAndParameters;
            if context.reset(reset).is_err() {
                *context = DCtx::create();
            }
            let mut decoder = zstd::stream::read::Decoder::with_context(compressed, context);
            decoder
                .window_log_max(ZSTD_WINDOW_LOG)
                .map_err(|error| Unread::BadCompression(error.to_string()))?;
            read_capped(decoder, compressed.len(), limit)
        }),
    }
}

fn read_capped(decoder: impl Read, compressed: usize, limit: usize) -> Result<Vec<u8>, Unread> {
    // Telemetry shrinks to a fifth or so.
    let mut inflated = Vec::with_capacity(compressed.saturating_mul(5).min(limit));
    // One byte more than the limit tells a body of just the limit from a larger one.
    match decoder.take(limit as u64 + 1).read_to_end(&mut inflated) {
        Ok(_) if inflated.len() > limit => Err(Unread::TooLarge(limit)),
        Ok(_) => Ok(inflated),
        Err(error) => Err(Unread::BadCompression(error.to_string())),
    }
}

/// Compresses `bytes`.
///
/// # Errors
/// Of the compressor, which has none to expect.
pub fn compress(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let room = Vec::with_capacity(bytes.len() / 4);
    match compression {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::default());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(room, flate2::Compression::default());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Zstd => zstd::bulk::compress(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 3] = [Compression::Gzip, Compression::Zstd, Compression::Zlib];

    #[test]
    fn what_was_compressed_inflates_up_to_the_limit() {
        let bytes: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        for compression in ALL {
            let compressed = compress(compression, &bytes).unwrap();
            assert_eq!(inflate(compression, &compressed, bytes.len()).unwrap(), bytes);
            let over = inflate(compression, &compressed, bytes.len() - 1);
            assert_eq!(over, Err(Unread::TooLarge(bytes.len() - 1)), "{compression:?}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        const LIMIT: usize = 1024 * 1024;
        let zeros = vec![0; LIMIT];
        for compression in [Compression::Gzip, Compression::Zstd] {
            // Both formats join streams by concatenation: this is a gibibyte.
            let bomb = compress(compression, &zeros).unwrap().repeat(1024);
            assert!(bomb.len() < 8 * LIMIT, "{compression:?}: {}", bomb.len());
            assert_eq!(inflate(compression, &bomb, LIMIT), Err(Unread::TooLarge(LIMIT)));
        }
    }

    #[test]
    fn corrupt_and_cut_off_streams_are_refused_and_the_next_one_is_read() {
        for compression in ALL {
            let compressed = compress(compression, &[7; 1000]).unwrap();
            let cut = inflate(compression, &compressed[..compressed.len() - 5], 1000);
            assert!(matches!(cut, Err(Unread::BadCompression(_))), "{compression:?}: {cut:?}");
            let corrupt = inflate(compression, b"no such thing", 1000);
            assert!(matches!(corrupt, Err(Unread::BadCompression(_))), "{compression:?}");
            assert_eq!(inflate(compression, &compressed, 1000).unwrap(), [7; 1000]);
        }
    }
}
