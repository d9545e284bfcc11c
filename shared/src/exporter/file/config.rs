//! `file`: keys, defaults, and what can be wrong with them.

use std::sync::Arc;
use std::time::Duration;

use super::FileExporter;
use crate::config::{Compression, NotSupported, Path, Problems, Section};
use crate::consumer::Next;
use crate::otlp::recorded::{Form, Format, Packing};
use crate::service::{BuildError, Context, ExporterConfig};
use crate::wire::Signal;
use crate::{config_enum, config_struct};

config_enum! {
    /// How a request is written.
    pub enum FileFormat {
        /// As a line of OTLP/JSON.
        Json = "json",
        /// As protobuf, behind its length.
        Proto = "proto",
    }
}

config_enum! {
    /// How requests are compressed.
    pub enum FileCompression {
        /// Not at all.
        None = "",
        /// Each by itself, behind its length, as in the Collector.
        Zstd = "zstd",
        /// Ours: the file as a whole.
        Gzip = "gzip",
    }
}

config_struct! {
    /// `file`. Source: contrib exporter/fileexporter/config.go.
    pub struct FileConfig {
        /// The file.
        pub path: String = String::new(),
        /// Whether what is in the file stays; else it is emptied at the start.
        pub append: bool = false,
        /// Whether a file that is full is renamed and another one begun.
        pub rotation: Section<RotationConfig> = Section::off(),
        /// How a request is written.
        pub format: FileFormat = FileFormat::Json,
        /// How requests are compressed.
        pub compression: FileCompression = FileCompression::None,
        /// How long a request may wait until it is written; 0 is a second.
        pub flush_interval: Duration = Duration::from_secs(1),
        /// Whether the directory is made if it is not there.
        pub create_directory: bool = false,
        /// Its permissions in octal.
        pub directory_permissions: String = String::new(),
        /// Other encodings are extensions of the Collector.
        pub encoding: NotSupported = NotSupported,
        /// There is one file.
        pub group_by: NotSupported = NotSupported,
    }
}

config_struct! {
    /// `rotation`.
    pub struct RotationConfig {
        /// How large a file becomes, in MiB; 0 is 100.
        pub max_megabytes: u64 = 100,
        /// Days until a full file is removed; 0 is never.
        pub max_days: u64 = 0,
        /// How many full files are kept; 0 is all.
        pub max_backups: usize = 100,
        /// Whether their names have the local time; only UTC is supported.
        pub localtime: bool = false,
    }
}

/// The permissions of a directory when none are configured.
const DIRECTORY_PERMISSIONS: &str = "0755";

impl FileConfig {
    pub(super) fn form(&self) -> Form {
        let format = match self.format {
            FileFormat::Json => Format::Json,
            FileFormat::Proto => Format::Proto,
        };
        let packing = match self.compression {
            FileCompression::None => Packing::Plain,
            FileCompression::Zstd => Packing::EachZstd,
            FileCompression::Gzip => Packing::Whole(Compression::Gzip),
        };
        Form { format, packing }
    }

    pub(super) fn flush_interval(&self) -> Duration {
        match self.flush_interval.is_zero() {
            true => Duration::from_secs(1),
            false => self.flush_interval,
        }
    }

    /// The permissions of the directory, if it is to be made; nothing also when they are wrong.
    pub(super) fn directory_mode(&self) -> Option<u32> {
        let text = match self.directory_permissions.as_str() {
            "" => DIRECTORY_PERMISSIONS,
            text => text,
        };
        let mode = u32::from_str_radix(text, 8).ok()?;
        (self.create_directory && mode & 0o777 == mode).then_some(mode)
    }
}

impl ExporterConfig for FileConfig {
    const TYPE: &'static str = "file";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.path.is_empty() {
            problems.report(&at.key("path"), "must be non-empty");
        }
        let append = at.key("append");
        if self.append && self.compression == FileCompression::Zstd {
            problems.report(&append, "append and compression zstd exclude each other");
        }
        if self.append && self.rotation.as_ref().is_some() {
            problems.report(&append, "append and rotation exclude each other");
        }
        if self.rotation.as_ref().is_some_and(|rotation| rotation.localtime) {
            problems.report(&at.key("rotation").key("localtime"), "only UTC is supported");
        }
        let permissions = at.key("directory_permissions");
        if !self.create_directory && !self.directory_permissions.is_empty() {
            problems.report(&permissions, "needs create_directory: true");
        } else if self.create_directory && self.directory_mode().is_none() {
            problems.report(&permissions, "must be an octal number of permissions, like \"0755\"");
        }
    }

    fn build(&self, ctx: &Context) -> Result<Next, BuildError> {
        Ok(Arc::new(FileExporter::start(self, ctx)?))
    }
}
