//! Full files: `data.json` becomes `data-2026-08-21T09-30-00.250.json`, with the time in UTC.
//!
//! Source: timberjack and lumberjack, which the Collector uses.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::config::RotationConfig;
use crate::clock;

/// Length of the time in a name.
const TIME_LENGTH: usize = "2026-08-21T09-30-00.250".len();
const NANOS_PER_DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
/// Used where 0 is configured.
const DEFAULT_MEGABYTES: u64 = 100;

/// When a file is full, and what becomes of it then.
#[derive(Debug)]
pub(super) struct Rotation {
    path: PathBuf,
    max_bytes: u64,
    max_age_ns: Option<u64>,
    max_backups: Option<usize>,
}

impl Rotation {
    pub(super) fn new(config: &RotationConfig, path: &Path) -> Self {
        let megabytes = match config.max_megabytes {
            0 => DEFAULT_MEGABYTES,
            megabytes => megabytes,
        };
        Self {
            path: path.to_owned(),
            max_bytes: megabytes.saturating_mul(1 << 20),
            max_age_ns: (config.max_days > 0)
                .then(|| config.max_days.saturating_mul(NANOS_PER_DAY)),
            max_backups: Some(config.max_backups).filter(|count| *count > 0),
        }
    }

    /// How large a file becomes, unless one piece alone is larger.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Gives the full file its other name.
    pub(super) fn rename(&self, now_ns: u64) -> io::Result<()> {
        let (stem, extension) = self.name();
        let mut now_ns = now_ns;
        loop {
            let mut name = stem.clone();
            name.push("-");
            name.push(time(now_ns));
            name.push(&extension);
            let full = self.path.with_file_name(name);
            if !full.exists() {
                return std::fs::rename(&self.path, full);
            }
            // Two in one millisecond.
            now_ns += 1_000_000;
        }
    }

    /// Removes full files that are too old or too many. What cannot be removed is told and stays.
    pub(super) fn clean(&self, now_ns: u64) {
        let oldest = self.max_age_ns.map(|age| time(now_ns.saturating_sub(age)));
        for (index, (time, path)) in self.full_files().into_iter().enumerate() {
            let is_old = oldest.as_ref().is_some_and(|oldest| time < *oldest);
            let is_surplus = self.max_backups.is_some_and(|most| index >= most);
            if (is_old || is_surplus)
                && let Err(error) = std::fs::remove_file(&path)
            {
                warn!(path = %path.display(), %error, "a full file cannot be removed");
            }
        }
    }

    /// Full files with their times, the newest first.
    fn full_files(&self) -> Vec<(String, PathBuf)> {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let (stem, extension) = self.name();
        let (start, end) = (format!("{}-", stem.display()), extension.display().to_string());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let time = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(&end));
            if let Some(time) = time.filter(|time| is_time(time)) {
                files.push((time.to_owned(), entry.path()));
            }
        }
        files.sort_by(|one, other| other.0.cmp(&one.0));
        files
    }

    /// The file's name, cut before its extension.
    fn name(&self) -> (OsString, OsString) {
        let stem = self.path.file_stem().unwrap_or_default().to_owned();
        let mut extension = OsString::new();
        if let Some(end) = self.path.extension() {
            extension.push(".");
            extension.push(end);
        }
        (stem, extension)
    }
}

/// A time as it stands in a name; later ones are greater texts.
fn time(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let millis = unix_ns / 1_000_000 % 1000;
    let second = clock::rfc3339(seconds * 1_000_000_000).replace(':', "-");
    format!("{}.{millis:03}", second.trim_end_matches('Z'))
}

fn is_time(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || b"-T.".contains(&byte));
    text.len() == TIME_LENGTH && digits
}
