//! The file itself: what is in it, and what is about to be.
//!
//! Invariant: the file ends with a whole message, also after a write that failed in the middle.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use super::config::FileConfig;
use super::rotation::Rotation;
use crate::otlp::recorded::Form;

/// Bytes that are enough to be written at once.
const PIECE_BYTES: usize = 1 << 20;

/// See the module's head.
#[derive(Debug)]
pub(super) struct FileLog {
    path: PathBuf,
    form: Form,
    rotation: Option<Rotation>,
    file: File,
    /// Bytes in the file.
    length: u64,
    /// Messages that are not packed yet.
    piece: Vec<u8>,
    /// A packed piece that could not be written.
    packed: Vec<u8>,
    /// Items of both.
    items: usize,
}

/// What a write did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) rotated: bool,
}

impl FileLog {
    /// Opens the file, and makes it if it is not there.
    pub(super) fn open(config: &FileConfig, now_ns: u64) -> io::Result<Self> {
        let path = PathBuf::from(&config.path);
        if let (Some(mode), Some(directory)) = (config.directory_mode(), path.parent()) {
            DirBuilder::new().recursive(true).mode(mode).create(directory)?;
        }
        let rotation = config.rotation.as_ref().map(|rotation| Rotation::new(rotation, &path));
        if let Some(rotation) = &rotation {
            rotation.clean(now_ns);
        }
        // Who rotates goes on with what is there.
        let keep = config.append || rotation.is_some();
        let mut file = open(&path, if keep { Before::Kept } else { Before::Dropped })?;
        let length = file.seek(SeekFrom::End(0))?;
        let (piece, packed) = (Vec::new(), Vec::new());
        Ok(Self { path, form: config.form(), rotation, file, length, piece, packed, items: 0 })
    }

    /// Whether more should be written before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.piece.len() >= PIECE_BYTES || !self.packed.is_empty()
    }

    /// Adds a message.
    pub(super) fn put(&mut self, message: &[u8], items: usize) {
        self.piece.extend_from_slice(message);
        self.items += items;
    }

    /// Items that are not in the file yet.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// Writes all that was added.
    ///
    /// # Errors
    /// When that fails; it is kept then, and the file is as it was.
    pub(super) fn flush(&mut self, now_ns: u64) -> io::Result<Progress> {
        let mut progress = Progress::default();
        if self.packed.is_empty() {
            self.packed = self.form.pack(std::mem::take(&mut self.piece))?;
        }
        let added = self.packed.len() as u64;
        if let Some(rotation) = &self.rotation
            && self.length > 0
            && self.length + added > rotation.max_bytes()
        {
            rotation.rename(now_ns)?;
            self.file = open(&self.path, Before::Dropped)?;
            self.length = 0;
            progress.rotated = true;
            rotation.clean(now_ns);
        }
        if let Err(error) = self.file.write_all(&self.packed) {
            // What was written of it would be half a message.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += added;
        self.packed.clear();
        self.items = 0;
        progress.bytes = added;
        Ok(progress)
    }

    /// Forgets what was not written: how many items that is.
    pub(super) fn give_up(&mut self) -> usize {
        (self.piece, self.packed) = (Vec::new(), Vec::new());
        std::mem::take(&mut self.items)
    }
}

/// What becomes of what is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Kept,
    Dropped,
}

fn open(path: &std::path::Path, before: Before) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(before == Before::Dropped).mode(0o600).open(path)
}
