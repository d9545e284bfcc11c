//! Reads recorded requests one by one; what is held is one message.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use super::MAX_MESSAGE_BYTES;
use crate::batch::Batch;
use crate::transport::compression::{Coding, inflate, inflating};
use crate::transport::status::Unread;
use crate::wire::{Signal, json};

/// What gzip begins with.
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
/// What a zstd frame begins with.
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// Bytes that tell one form from the other.
const HEAD_BYTES: u64 = 4;

/// The requests of a file, in their order. Ends at the first that cannot be read.
pub struct Recorded {
    input: Box<dyn BufRead + Send>,
    layout: Layout,
    signal: Signal,
    /// Messages read so far.
    messages: u64,
    skipped: u64,
    /// Set at the end and after an error.
    ended: bool,
    message: Vec<u8>,
    /// Whether the message's end was seen: the last line may have none.
    is_whole: bool,
}

/// How messages are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Lines,
    Lengths,
    /// The file is one message.
    One,
}

/// Why recorded requests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The file does not open or does not inflate.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// The file ends within a message, as one does whose writer died or still writes.
    #[error("message {message} is cut off by the end of the file")]
    CutOff {
        /// Which one, counted from 1.
        message: u64,
    },
    /// A message is no request.
    #[error("message {message} {reason}")]
    Message {
        /// Which one, counted from 1.
        message: u64,
        /// What it is instead.
        reason: String,
    },
}

impl Recorded {
    /// Opens a file of requests of `signal`; others in it are passed over, as far as they can be
    /// told.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path, signal: Signal) -> Result<Self, RecordedError> {
        Self::read(File::open(path)?, signal)
    }

    /// Reads what comes out of `input` in the same way.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn read(input: impl Read + Send + 'static, signal: Signal) -> Result<Self, RecordedError> {
        let (head, input) = peek(input)?;
        let input: Box<dyn BufRead + Send> = if head.starts_with(GZIP_MAGIC) {
            Box::new(BufReader::new(inflating(Coding::Gzip, input)?))
        } else if head.starts_with(ZSTD_MAGIC) {
            Box::new(BufReader::new(inflating(Coding::Zstd, input)?))
        } else {
            Box::new(input)
        };
        let (head, input) = peek(input)?;
        // As lengths these would be above what is read.
        let layout = match head[..] {
            // A request's first tag, which is a line feed too, and a length: of 128 bytes or more
            // it is no character, and of fewer hardly one of these.
            [b'\n', next, ..] if next != b'{' && !next.is_ascii_whitespace() => Layout::One,
            [b'{' | b' ' | b'\t' | b'\r' | b'\n', ..] => Layout::Lines,
            _ => Layout::Lengths,
        };
        Ok(Self {
            input: Box::new(input),
            layout,
            signal,
            messages: 0,
            skipped: 0,
            ended: false,
            message: Vec::new(),
            is_whole: true,
        })
    }

    /// Messages of other signals that were passed over so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, RecordedError> {
        loop {
            let found = match self.layout {
                Layout::Lines => self.read_line()?,
                Layout::Lengths => self.read_length_and_message()?,
                Layout::One => self.read_whole()?,
            };
            if !found {
                return Ok(None);
            }
            if self.message.starts_with(ZSTD_MAGIC) {
                self.message = inflate(Coding::Zstd, &self.message, MAX_MESSAGE_BYTES)
                    .map_err(|error| self.not_inflated(error))?;
            }
            if let Some(request) = self.request()? {
                let batch = Batch::parse(self.signal, request.into());
                let what = self.signal;
                return batch.map(Some).map_err(|_| self.bad(format!("is no request of {what}")));
            }
        }
    }

    /// The message as protobuf, unless it is of another signal.
    fn request(&mut self) -> Result<Option<Vec<u8>>, RecordedError> {
        if !is_json(&self.message) {
            return Ok(Some(std::mem::take(&mut self.message)));
        }
        match signal_of(&self.message) {
            Some(signal) if signal != self.signal => {
                self.skipped += 1;
                Ok(None)
            }
            _ => match json::decode(self.signal, &self.message) {
                Ok(request) => Ok(Some(request)),
                Err(_) if !self.is_whole => Err(RecordedError::CutOff { message: self.messages }),
                Err(error) => Err(self.bad(format!("is no OTLP/JSON: {error}"))),
            },
        }
    }

    /// Reads the next line that is not blank.
    fn read_line(&mut self) -> Result<bool, RecordedError> {
        loop {
            self.message.clear();
            let limit = MAX_MESSAGE_BYTES as u64 + 1;
            let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.message)?;
            if read == 0 {
                return Ok(false);
            }
            let is_whole = self.message.last() == Some(&b'\n');
            if self.message.iter().all(u8::is_ascii_whitespace) && is_whole {
                continue;
            }
            self.messages += 1;
            if self.message.len() > MAX_MESSAGE_BYTES {
                return Err(self.too_large(self.message.len()));
            }
            self.is_whole = is_whole;
            return Ok(true);
        }
    }

    /// Reads all there is, once.
    fn read_whole(&mut self) -> Result<bool, RecordedError> {
        self.message.clear();
        self.input.by_ref().take(MAX_MESSAGE_BYTES as u64 + 1).read_to_end(&mut self.message)?;
        if self.message.is_empty() {
            return Ok(false);
        }
        self.messages += 1;
        match self.message.len() > MAX_MESSAGE_BYTES {
            true => Err(self.too_large(self.message.len())),
            false => Ok(true),
        }
    }

    fn read_length_and_message(&mut self) -> Result<bool, RecordedError> {
        let mut length = Vec::new();
        self.input.by_ref().take(HEAD_BYTES).read_to_end(&mut length)?;
        if length.is_empty() {
            return Ok(false);
        }
        self.messages += 1;
        let cut_off = RecordedError::CutOff { message: self.messages };
        let Ok(length) = <[u8; 4]>::try_from(length) else { return Err(cut_off) };
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(self.too_large(length));
        }
        // Room is made as the message comes, not as its length says.
        self.message.clear();
        self.input.by_ref().take(length as u64).read_to_end(&mut self.message)?;
        match self.message.len() == length {
            true => Ok(true),
            false => Err(cut_off),
        }
    }

    fn too_large(&self, length: usize) -> RecordedError {
        let limit = MAX_MESSAGE_BYTES >> 20;
        self.bad(format!(
            "has {length} bytes or more; above {limit} MiB nothing is read, and this may be no \
             file of requests"
        ))
    }

    fn not_inflated(&self, error: Unread) -> RecordedError {
        match error {
            Unread::BadCompression(reason) => self.bad(format!("does not inflate: {reason}")),
            _ => self.too_large(MAX_MESSAGE_BYTES + 1),
        }
    }

    fn bad(&self, reason: String) -> RecordedError {
        RecordedError::Message { message: self.messages, reason }
    }
}

impl Iterator for Recorded {
    type Item = Result<Batch, RecordedError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_batch().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The first bytes of `input`, which are still to be read.
fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, impl BufRead + use<R>)> {
    let mut head = Vec::new();
    input.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(BufReader::new(input))))
}

/// Whether a message is JSON: no request begins with a field of number 1 that is a group, 4 or 15.
fn is_json(message: &[u8]) -> bool {
    message.trim_ascii_start().starts_with(b"{")
}

/// The signal of a request in JSON, by its first key.
fn signal_of(message: &[u8]) -> Option<Signal> {
    let rest = message.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    let key = rest.strip_prefix(b"\"")?.split(|byte| *byte == b'"').next()?;
    match key {
        b"resourceSpans" | b"resource_spans" => Some(Signal::Traces),
        b"resourceMetrics" | b"resource_metrics" => Some(Signal::Metrics),
        b"resourceLogs" | b"resource_logs" => Some(Signal::Logs),
        _ => None,
    }
}
