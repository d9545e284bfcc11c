//! The write-ahead log: batches on disk until the receiver has them.
//!
//! ```text
//! DIRECTORY/ID/lock                        held while the log is open
//! DIRECTORY/ID/acknowledged                number of the first batch that is still needed
//! DIRECTORY/ID/00000000000000000042.wal    batches 42, 43, …
//! ```
//!
//! What is kept are requests of OTLP as they came, so that a log may be sent after a change of
//! names or protocol. A batch goes when the receiver has taken or refused it, and not when it
//! could not be reached. Blocking; the async shell is in [`feed`](super::feed).

mod progress;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::config::{Path, Problems};
use shared::{clock, config_struct};
use tracing::{info, warn};

pub(super) use self::progress::{Position, Progress};
use self::segment::{Read, Reader, Segment};
use super::metrics::WalMetrics;

/// Largest segment.
const SEGMENT_BYTES: u64 = 16 << 20;
/// The file that says what is still needed.
const ACKNOWLEDGED: &str = "acknowledged";

config_struct! {
    /// `wal`.
    pub struct WalConfig {
        /// Where the log is kept; each exporter has a directory of its own in here.
        pub directory: String = String::new(),
        /// How many batches are read ahead of those that the receiver has taken; 0 is the default.
        pub buffer_size: usize = 300,
        /// How often it is noted what is no longer needed; 0 is the default. After a crash, what
        /// was taken since is sent again.
        pub truncate_frequency: Duration = Duration::from_secs(60),
        /// How often the lag is recorded; 0 is the default.
        pub lag_record_frequency: Duration = Duration::from_secs(15),
        /// Ours: size on disk from which batches are refused.
        pub max_size_bytes: u64 = 1 << 30,
    }
}

impl WalConfig {
    /// Reports everything that is wrong.
    pub(super) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.directory.is_empty() {
            problems.report(&at.key("directory"), "must be the directory that the log is kept in");
        }
        if self.max_size_bytes == 0 {
            problems.report(&at.key("max_size_bytes"), "must be greater than 0");
        }
    }

    pub(super) fn buffer_size(&self) -> usize {
        if self.buffer_size == 0 { Self::default().buffer_size } else { self.buffer_size }
    }

    pub(super) fn truncate_frequency(&self) -> Duration {
        match self.truncate_frequency {
            Duration::ZERO => Self::default().truncate_frequency,
            frequency => frequency,
        }
    }

    pub(super) fn lag_record_frequency(&self) -> Duration {
        match self.lag_record_frequency {
            Duration::ZERO => Self::default().lag_record_frequency,
            frequency => frequency,
        }
    }
}

/// A log that is open.
pub(super) struct Log {
    directory: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    files: Mutex<Files>,
    progress: Arc<Progress>,
    metrics: WalMetrics,
    _lock: File,
}

struct Files {
    /// By the number of their first batch; the last one is written.
    segments: VecDeque<Segment>,
    active: File,
    /// Number of the next batch that is written.
    next: u64,
    reader: Reader,
    /// What the file of what is needed says.
    noted: u64,
}

/// A batch that was read.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) position: Position,
    pub(super) request: Vec<u8>,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum NotWritten {
    Full,
    Io(io::Error),
}

impl Log {
    /// Opens the log of the exporter `id`, and makes it if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be used, or somebody else uses it.
    pub(super) fn open(config: &WalConfig, id: &str) -> io::Result<Self> {
        let directory = FilePath::new(&config.directory).join(file_name(id));
        fs::create_dir_all(&directory)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process uses it"),
            TryLockError::Error(error) => error,
        })?;
        let metrics = WalMetrics::new(&[("exporter", id)]);
        let mut segments = list(&directory)?;
        let next = match segments.back_mut() {
            Some(last) => last.repair()?,
            None => 0,
        };
        let noted = acknowledged(&directory).unwrap_or(0);
        let first = segments.front().map_or(0, |segment| segment.first);
        // A log without its note, or with one that is not its own, is sent as a whole.
        let noted = if (first..=next).contains(&noted) { noted } else { first };
        if segments.is_empty() {
            segments.push_back(Segment::create(&directory, next)?);
        }
        let last = segments.back().expect("one was made");
        let active = last.append()?;
        let reader = Reader::at(&segments, noted);
        if noted < next {
            info!(exporter = id, batches = next - noted, "sending what the write-ahead log kept");
        }
        let files = Files { segments, active, next, reader, noted };
        metrics.size.set(as_f64(files.size()));
        metrics.lag.set(as_f64(next - noted));
        Ok(Self {
            directory,
            max_bytes: config.max_size_bytes,
            segment_bytes: SEGMENT_BYTES.min(config.max_size_bytes / 8).max(1),
            files: Mutex::new(files),
            progress: Arc::new(Progress::new(noted)),
            metrics,
            _lock: lock,
        })
    }

    /// Writes a batch to disk.
    pub(super) fn append(&self, request: &[u8]) -> Result<(), NotWritten> {
        let begun = clock::now();
        let written = self.write(request);
        match &written {
            Ok(()) => {
                self.metrics.writes.increment(1);
                self.metrics.bytes_written.increment(request.len() as u64);
            }
            Err(NotWritten::Full) => self.metrics.refused.increment(1),
            Err(NotWritten::Io(_)) => self.metrics.writes_failures.increment(1),
        }
        self.metrics.write_latency.record(millis_since(begun));
        written
    }

    fn write(&self, request: &[u8]) -> Result<(), NotWritten> {
        let mut files = self.lock();
        let record = segment::record(files.next, request).ok_or(NotWritten::Full)?;
        let size = record.len() as u64;
        // A new file may have to be begun for it.
        let room = self.max_bytes.saturating_sub(size + segment::MARK.len() as u64);
        if files.size() > room {
            self.forget(&mut files).map_err(NotWritten::Io)?;
            if files.size() > room {
                return Err(NotWritten::Full);
            }
        }
        let last = files.segments.back().expect("there is always one");
        if last.size_bytes + size > self.segment_bytes && last.holds_records() {
            self.roll(&mut files).map_err(NotWritten::Io)?;
        }
        let written = files.active.write_all(&record).and_then(|()| files.active.sync_data());
        let last = files.segments.back_mut().expect("there is always one");
        match written {
            Ok(()) => {
                last.size_bytes += size;
                files.next += 1;
                self.metrics.size.set(as_f64(files.size()));
                Ok(())
            }
            Err(error) => {
                // What was written of it must not be taken for a record.
                let size_bytes = last.size_bytes;
                files.active.set_len(size_bytes).map_err(NotWritten::Io)?;
                Err(NotWritten::Io(error))
            }
        }
    }

    /// Reads the next batch; `None` when all were read. What cannot be read is passed over and
    /// counted.
    pub(super) fn read(&self) -> Option<Record> {
        let begun = clock::now();
        let mut files = self.lock();
        loop {
            let Files { segments, reader, next, .. } = &mut *files;
            match reader.next(segments, *next) {
                Read::End => return None,
                Read::Record { number, request } => {
                    self.metrics.reads.increment(1);
                    self.metrics.bytes_read.increment(request.len() as u64);
                    self.metrics.read_latency.record(millis_since(begun));
                    let position = Position::new(&self.progress, number);
                    return Some(Record { position, request });
                }
                Read::Lost { numbers, error } => {
                    self.metrics.reads_failures.increment(1);
                    self.metrics.corruptions.increment(1);
                    warn!(directory = %self.directory.display(), first = numbers.start,
                        batches = numbers.end - numbers.start, error,
                        "part of the write-ahead log cannot be read and is passed over");
                    numbers.for_each(|number| self.progress.done(number));
                }
            }
        }
    }

    /// Notes what is no longer needed, and removes it.
    ///
    /// # Errors
    /// When the disk fails; then it is sent again after a restart.
    pub(super) fn truncate(&self) -> io::Result<()> {
        let mut files = self.lock();
        self.forget(&mut files)?;
        self.metrics.lag.set(as_f64(files.next - files.noted));
        Ok(())
    }

    /// Counts a batch that was read and is none.
    pub(super) fn note_corruption(&self) {
        self.metrics.corruptions.increment(1);
    }

    /// Sets the gauge of what the receiver has not taken.
    pub(super) fn record_lag(&self) {
        let next = self.lock().next;
        self.metrics.lag.set(as_f64(next.saturating_sub(self.progress.needed())));
    }

    /// How many batches could be forgotten.
    pub(super) fn forgettable(&self) -> u64 {
        self.progress.needed().saturating_sub(self.lock().noted)
    }

    fn forget(&self, files: &mut Files) -> io::Result<()> {
        let needed = self.progress.needed();
        if needed == files.noted {
            return Ok(());
        }
        note(&self.directory, needed)?;
        files.noted = needed;
        let last = files.segments.back().expect("there is always one");
        if needed == files.next && last.holds_records() {
            self.roll(files)?;
        }
        while let [first, second, ..] = files.segments.make_contiguous()
            && second.first <= needed
        {
            fs::remove_file(&first.path)?;
            files.segments.pop_front();
        }
        self.metrics.size.set(as_f64(files.size()));
        Ok(())
    }

    fn roll(&self, files: &mut Files) -> io::Result<()> {
        let segment = Segment::create(&self.directory, files.next)?;
        files.active = segment.append()?;
        files.segments.push_back(segment);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size_bytes).sum()
    }
}

/// A component's id as the name of a directory.
fn file_name(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    id.chars()
        .map(|c| if is_plain(c) { c.to_string() } else { format!("%{:x}", u32::from(c)) })
        .collect()
}

fn list(directory: &FilePath) -> io::Result<VecDeque<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        segments.extend(Segment::found(&entry?.path())?);
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments.into())
}

/// What the note says; `None` when there is none that can be read.
fn acknowledged(directory: &FilePath) -> Option<u64> {
    fs::read_to_string(directory.join(ACKNOWLEDGED)).ok()?.trim().parse().ok()
}

fn note(directory: &FilePath, needed: u64) -> io::Result<()> {
    let new = directory.join("acknowledged.new");
    let mut file = File::create(&new)?;
    writeln!(file, "{needed}")?;
    file.sync_data()?;
    fs::rename(new, directory.join(ACKNOWLEDGED))?;
    segment::sync_directory(directory)
}

fn millis_since(begun: std::time::Instant) -> f64 {
    clock::now().saturating_duration_since(begun).as_secs_f64() * 1000.0
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
