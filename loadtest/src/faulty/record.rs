//! What a backend writes down of each request before it answers, in a file that outlives it.
//!
//! An entry is a kind, a number and a time, and for requests also their connection and span ids:
//!
//! ```text
//! kind u8 · number u64 · time_ns u64 · connection u64 · count u32 · count × (key u64, span u64)
//! ```
//!
//! in little-endian order, written at once. What follows the last whole entry was never answered
//! and does not count.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::testbed::TestbedError;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The items of a request were taken.
    Taken = 1,
    /// The items of a request were rejected for good.
    Rejected = 2,
    /// The request with this number is answered now.
    Answered = 3,
    /// The connection is reset now.
    Cut = 4,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Kind::Taken, Kind::Rejected, Kind::Answered, Kind::Cut]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A span as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanRef {
    /// The lower half of its trace id.
    pub key: u64,
    /// Its own id.
    pub span: u64,
}

/// One entry of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub kind: Kind,
    /// Number of the request; 0 if it is about a connection.
    pub request: u64,
    /// When it was written, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Number of the connection, unique over all lives of the backend.
    pub connection: u64,
    /// The items, of which only requests have any.
    pub items: Vec<SpanRef>,
}

const HEAD: usize = 1 + 8 + 8 + 8 + 4;
const ITEM: usize = 16;

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.items.len() * ITEM);
        bytes.push(self.kind as u8);
        for number in [self.request, self.time_ns, self.connection] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let count = u32::try_from(self.items.len()).expect("a message has less than 2^32 spans");
        bytes.extend_from_slice(&count.to_le_bytes());
        for item in &self.items {
            bytes.extend_from_slice(&item.key.to_le_bytes());
            bytes.extend_from_slice(&item.span.to_le_bytes());
        }
        bytes
    }

    /// Reads the entry at the start of `bytes`; also gives what follows. `None` if it is not
    /// whole.
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let u64_at = |bytes: &[u8], at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
        };
        let count = u32::from_le_bytes(head[25..].try_into().expect("four bytes")) as usize;
        let (items, rest) = rest.split_at_checked(count.checked_mul(ITEM)?)?;
        let items = items
            .chunks_exact(ITEM)
            .map(|item| SpanRef { key: u64_at(item, 0), span: u64_at(item, 8) })
            .collect();
        let entry = Self {
            kind: Kind::of(head[0])?,
            request: u64_at(head, 1),
            time_ns: u64_at(head, 9),
            connection: u64_at(head, 17),
            items,
        };
        Some((entry, rest))
    }
}

/// All whole entries of a record.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> Result<Vec<Entry>, TestbedError> {
    let bytes = std::fs::read(path)
        .map_err(|error| TestbedError::new(format!("cannot read {}: {error}", path.display())))?;
    Ok(entries(&bytes).0)
}

/// All whole entries, and their length in bytes.
fn entries(bytes: &[u8]) -> (Vec<Entry>, usize) {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    while let Some((entry, following)) = Entry::decode(rest) {
        entries.push(entry);
        rest = following;
    }
    (entries, bytes.len() - rest.len())
}

/// Appends entries to a file.
pub struct Recorder {
    file: Mutex<File>,
    /// The first number that no request and no connection has had.
    next: std::sync::atomic::AtomicU64,
}

impl Recorder {
    /// Goes on after the last whole entry of `path`, which is made if need be.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, TestbedError> {
        let failed = |error: std::io::Error| {
            TestbedError::new(format!("cannot write {}: {error}", path.display()))
        };
        let file = File::options().create(true).append(true).open(path).map_err(failed)?;
        let bytes = std::fs::read(path).map_err(failed)?;
        let (entries, whole) = entries(&bytes);
        file.set_len(whole as u64).map_err(failed)?;
        let used = entries.iter().map(|entry| entry.request.max(entry.connection)).max();
        Ok(Self { file: Mutex::new(file), next: (used.unwrap_or(0) + 1).into() })
    }

    /// A number that no other request or connection has.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    /// Writes an entry of now; it is in the file when this returns.
    ///
    /// # Panics
    /// When the file cannot be written: a backend that cannot remember must not answer.
    pub fn write(&self, kind: Kind, request: u64, connection: u64, items: Vec<SpanRef>) {
        let time_ns = shared::clock::unix_ns();
        let bytes = Entry { kind, request, time_ns, connection, items }.encode();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&bytes).expect("the record can be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_entry_is_cut_off_and_numbers_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        let items = vec![SpanRef { key: 1, span: 2 }, SpanRef { key: 3, span: 4 }];
        let recorder = Recorder::open(&path).unwrap();
        let (connection, request) = (recorder.number(), recorder.number());
        recorder.write(Kind::Taken, request, connection, items.clone());
        recorder.write(Kind::Answered, request, connection, Vec::new());
        drop(recorder);
        let whole = std::fs::read(&path).unwrap();
        for torn in [1, HEAD - 1, HEAD + ITEM] {
            let mut bytes = whole.clone();
            bytes.extend_from_slice(&whole[..torn]);
            std::fs::write(&path, bytes).unwrap();
            let entries = read(&path).unwrap();
            assert_eq!(entries.len(), 2);
            assert_eq!((entries[0].kind, &entries[0].items), (Kind::Taken, &items));
            let recorder = Recorder::open(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
            assert!(recorder.number() > request);
        }
    }
}
