//! Files of batches: a mark, then records of length, checksum and content, little endian.
//!
//! The checksum covers the batch's number too, which is that of the file's first batch, in its
//! name, plus its place. So a record that is not where it was written is found out.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tracing::warn;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a file begins with.
pub(super) const MARK: &[u8; 8] = b"TRRWAL1\n";
/// Length and checksum.
const HEAD: usize = 12;

/// A file of batches.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
}

/// A batch as it is written; `None` if it is too long for a record.
pub(super) fn record(number: u64, content: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(content.len()).ok()?;
    let mut record = Vec::with_capacity(HEAD + content.len());
    record.extend(length.to_le_bytes());
    record.extend(xxh3_64_with_seed(content, number).to_le_bytes());
    record.extend(content);
    Some(record)
}

/// Makes sure that the files of a directory are found again after the machine fails.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// What stands at a place in a file.
enum Found {
    Record(Vec<u8>),
    /// A whole record of this length whose content is not what was written.
    Corrupt(u64),
    /// Not even a whole record.
    Torn,
    End,
}

impl Segment {
    /// The file of this name, if that is a segment's.
    pub(super) fn found(path: &Path) -> io::Result<Option<Self>> {
        let is_segment = path.extension().is_some_and(|extension| extension == "wal");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(first) = stem.filter(|_| is_segment).and_then(|stem| stem.parse().ok()) else {
            return Ok(None);
        };
        let size_bytes = fs::metadata(path)?.len();
        Ok(Some(Self { first, path: path.to_owned(), size_bytes }))
    }

    /// A new file, whose first batch has this number.
    pub(super) fn create(directory: &Path, first: u64) -> io::Result<Self> {
        let path = directory.join(format!("{first:020}.wal"));
        fs::write(&path, MARK)?;
        sync_directory(directory)?;
        Ok(Self { first, path, size_bytes: MARK.len() as u64 })
    }

    /// The file, to write behind what it holds.
    pub(super) fn append(&self) -> io::Result<File> {
        OpenOptions::new().append(true).open(&self.path)
    }

    pub(super) fn holds_records(&self) -> bool {
        self.size_bytes > MARK.len() as u64
    }

    /// Cuts off a record that was not written to its end, as a crash leaves one; the number of the
    /// next batch.
    pub(super) fn repair(&mut self) -> io::Result<u64> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        if self.size_bytes < MARK.len() as u64 {
            // The crash came before the mark was written.
            file.set_len(0)?;
            file.write_all_at(MARK, 0)?;
            self.size_bytes = MARK.len() as u64;
        }
        let (mut offset, mut number) = (MARK.len() as u64, self.first);
        loop {
            let length = match find(&file, offset, number, self.size_bytes)? {
                Found::Record(content) => (HEAD + content.len()) as u64,
                // At the very end it was torn; in the middle, reading passes over it.
                Found::Corrupt(length) if offset + length < self.size_bytes => length,
                Found::End => return Ok(number),
                Found::Corrupt(_) | Found::Torn => {
                    warn!(file = %self.path.display(), bytes = self.size_bytes - offset,
                        "the write-ahead log ends in a record that was not written whole");
                    file.set_len(offset)?;
                    file.sync_data()?;
                    self.size_bytes = offset;
                    return Ok(number);
                }
            };
            offset += length;
            number += 1;
        }
    }
}

/// What reading found.
#[derive(Debug)]
pub(super) enum Read {
    Record {
        number: u64,
        request: Vec<u8>,
    },
    /// Batches of these numbers are lost.
    Lost {
        numbers: Range<u64>,
        error: String,
    },
    End,
}

/// A place in the files.
#[derive(Debug)]
pub(super) struct Reader {
    /// The file that is read, by its first number.
    open: Option<(u64, File)>,
    offset: u64,
    /// Of the batch that comes next.
    number: u64,
}

impl Reader {
    /// At the batch of this number, which is in one of the files or behind the last.
    pub(super) fn at(segments: &VecDeque<Segment>, number: u64) -> Self {
        let holding = segments.iter().rfind(|segment| segment.first <= number);
        let first = holding.or(segments.front()).map_or(number, |segment| segment.first);
        let mut reader = Self { open: None, offset: MARK.len() as u64, number: first };
        // What cannot be read on the way is found again when it is needed.
        while reader.number < number
            && let Read::Record { .. } | Read::Lost { .. } = reader.next(segments, number)
        {}
        reader.number = reader.number.max(number);
        reader
    }

    /// Reads the batch that comes next, if its number is below `end`.
    pub(super) fn next(&mut self, segments: &VecDeque<Segment>, end: u64) -> Read {
        if self.number >= end {
            return Read::End;
        }
        let holding = segments.iter().rposition(|segment| segment.first <= self.number);
        let Some(index) = holding else { return self.skip(segments, end, "its file is gone") };
        let segment = &segments[index];
        match self.read(segment) {
            Ok(Found::Record(request)) => {
                let number = self.number;
                self.offset += (HEAD + request.len()) as u64;
                self.number += 1;
                Read::Record { number, request }
            }
            Ok(Found::Corrupt(length)) => {
                let number = self.number;
                self.offset += length;
                self.number += 1;
                let error = "the checksum does not match".to_owned();
                Read::Lost { numbers: number..number + 1, error }
            }
            Ok(Found::Torn | Found::End) => self.skip(segments, end, "its file ends before it"),
            Err(error) => self.skip(segments, end, &error.to_string()),
        }
    }

    fn read(&mut self, segment: &Segment) -> io::Result<Found> {
        let file = match &self.open {
            Some((first, file)) if *first == segment.first => file,
            _ => {
                let file = File::open(&segment.path)?;
                self.offset = MARK.len() as u64;
                let mut mark = [0; MARK.len()];
                file.read_exact_at(&mut mark, 0)?;
                if &mark != MARK {
                    return Err(io::Error::other("it is no file of this log"));
                }
                &self.open.insert((segment.first, file)).1
            }
        };
        find(file, self.offset, self.number, segment.size_bytes)
    }

    /// Goes on with the next file.
    fn skip(&mut self, segments: &VecDeque<Segment>, end: u64, error: &str) -> Read {
        let begin = self.number;
        let next = segments.iter().find(|segment| segment.first > begin);
        self.number = next.map_or(end, |segment| segment.first.min(end));
        self.open = None;
        if next.is_none()
            && let Some(last) = segments.back()
        {
            // Behind all that is written there, and read on from there.
            self.open = File::open(&last.path).ok().map(|file| (last.first, file));
            self.offset = last.size_bytes;
        }
        Read::Lost { numbers: begin..self.number, error: error.to_owned() }
    }
}

fn find(file: &File, offset: u64, number: u64, size_bytes: u64) -> io::Result<Found> {
    let left = size_bytes.saturating_sub(offset);
    if left == 0 {
        return Ok(Found::End);
    }
    if left < HEAD as u64 {
        return Ok(Found::Torn);
    }
    let mut head = [0; HEAD];
    file.read_exact_at(&mut head, offset)?;
    let (length, checksum) = head.split_first_chunk::<4>().expect("it is 12 bytes long");
    let length = u32::from_le_bytes(*length);
    if u64::from(length) > left - HEAD as u64 {
        return Ok(Found::Torn);
    }
    let mut content = vec![0; length as usize];
    file.read_exact_at(&mut content, offset + HEAD as u64)?;
    match xxh3_64_with_seed(&content, number).to_le_bytes() == checksum {
        true => Ok(Found::Record(content)),
        false => Ok(Found::Corrupt(HEAD as u64 + u64::from(length))),
    }
}
