//! How messages and bodies are compressed. Source: collector config/configcompression.

use super::problems::{Path, Problems};
use crate::{config_enum, config_struct};

config_enum! {
    /// How messages are compressed.
    pub enum Compression {
        /// Not at all.
        None = "none" | "",
        /// gzip.
        Gzip = "gzip",
        /// Zstandard.
        Zstd = "zstd",
        /// zlib, which HTTP calls deflate; not for gRPC.
        Zlib = "zlib" | "deflate",
        /// Snappy: one block over HTTP, framed over gRPC.
        Snappy = "snappy",
        /// Snappy, framed; not for gRPC, where snappy is.
        SnappyFramed = "x-snappy-framed",
        /// LZ4, framed; not for gRPC.
        Lz4 = "lz4",
    }
}

impl Compression {
    /// What gRPC calls it, if it has it.
    pub fn grpc_name(self) -> Option<&'static str> {
        match self {
            Compression::None => Some("identity"),
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
            Compression::Snappy => Some("snappy"),
            Compression::Zlib | Compression::SnappyFramed | Compression::Lz4 => None,
        }
    }
}

config_struct! {
    /// `compression_params`.
    #[derive(PartialEq)]
    pub struct CompressionParams {
        /// From 1, the fastest, to 9, the smallest, for gzip and zlib; to 22 for zstd. 0 and -1
        /// are the default: 6, and 3 for zstd.
        pub level: i64 = 0,
    }
}

/// Level of gzip and zlib unless another one is asked for.
const DEFLATE_DEFAULT: u8 = 6;

/// Level of zstd unless another one is asked for.
const ZSTD_DEFAULT: u8 = 3;

impl CompressionParams {
    /// The level of `compression`, between those that there are. Those without levels have one.
    pub fn level_of(&self, compression: Compression) -> u8 {
        let (default, most) = match compression {
            Compression::Zstd => (ZSTD_DEFAULT, 22),
            _ => (DEFLATE_DEFAULT, 9),
        };
        match u8::try_from(self.level) {
            Ok(0) | Err(_) if self.level <= 0 => default,
            Ok(level) => level.min(most),
            Err(_) => most,
        }
    }

    pub(crate) fn validate(
        &self,
        at: &Path<'_>,
        problems: &mut Problems,
        compression: Compression,
    ) {
        let levels = match compression {
            Compression::Gzip | Compression::Zlib => -1..=9,
            Compression::Zstd => -1..=22,
            Compression::None if !matches!(self.level, -1 | 0) => {
                problems.warn(&at.key("level"), "has no effect without compression");
                return;
            }
            _ if !matches!(self.level, -1 | 0) => {
                problems.report(&at.key("level"), "only gzip, zlib and zstd have levels");
                return;
            }
            _ => return,
        };
        if !levels.contains(&self.level) {
            let (least, most) = levels.into_inner();
            problems.report(&at.key("level"), format!("must be from {least} to {most}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_levels_are_the_default_and_others_what_was_asked_for() {
        let level_of = |level, compression| CompressionParams { level }.level_of(compression);
        for unset in [0, -1] {
            assert_eq!(level_of(unset, Compression::Gzip), 6);
            assert_eq!(level_of(unset, Compression::Zstd), 3);
        }
        assert_eq!(level_of(1, Compression::Zlib), 1);
        assert_eq!(level_of(9, Compression::Gzip), 9);
        assert_eq!(level_of(22, Compression::Zstd), 22);
    }

    #[test]
    fn levels_that_do_not_exist_are_reported() {
        let problems = |level, compression| {
            let mut problems = Problems::default();
            let params = CompressionParams { level };
            params.validate(&Path::ROOT.key("compression_params"), &mut problems, compression);
            problems.errors().iter().map(ToString::to_string).collect::<String>()
        };
        assert_eq!(problems(9, Compression::Gzip), "");
        assert_eq!(problems(22, Compression::Zstd), "");
        assert_eq!(problems(0, Compression::Snappy), "");
        let wrong = problems(10, Compression::Gzip);
        assert!(wrong.contains("compression_params::level: must be from -1 to 9"), "{wrong}");
        let wrong = problems(-2, Compression::Zstd);
        assert!(wrong.contains("must be from -1 to 22"), "{wrong}");
        let wrong = problems(1, Compression::Snappy);
        assert!(wrong.contains("only gzip, zlib and zstd have levels"), "{wrong}");
    }
}
