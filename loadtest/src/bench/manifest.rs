//! What a folder of request files says of its files.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::panel::Sent;
use crate::plan::{FieldOrder, Look};
use crate::testbed::TestbedError;

/// The version of the files: raised when they are written in another way.
const FORMAT: u32 = 1;

/// One payload: a file of requests, each with its length in front as the Collector's `file` exporter
/// writes them, and a file of what is known of the traces in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// What was asked for.
    pub(super) asked: Asked,
    /// Spans in all requests.
    pub(super) spans: u64,
    pub(super) requests: u64,
    /// Bytes of all requests, uncompressed and without lengths.
    pub(super) bytes: u64,
    pub(super) traces: u64,
    /// XXH3-64 of the file of requests, in hexadecimal.
    pub(super) requests_xxh3: String,
    /// The same of the file of traces.
    pub(super) traces_xxh3: String,
}

/// What a payload is made by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) seed: u64,
    pub(super) spans_per_request: usize,
    pub(super) services: usize,
    pub(super) look: String,
    pub(super) field_order: String,
    /// The fewest spans that there are to be.
    pub(super) spans: u64,
}

impl Asked {
    pub(super) fn new(sent: Sent, seed: u64, spans: u64) -> Self {
        Self {
            seed,
            spans_per_request: sent.spans_per_request,
            services: sent.services,
            look: look_name(sent.look).to_owned(),
            field_order: order_name(sent.field_order).to_owned(),
            spans,
        }
    }

    /// What its files are called.
    fn stem(&self) -> String {
        let Self { seed, spans_per_request, services, look, field_order, spans } = self;
        format!("{spans_per_request}x{services}-{look}-{field_order}-{spans}-seed{seed}")
    }
}

pub(super) fn look_name(look: Look) -> &'static str {
    match look {
        Look::Plain => "plain",
        Look::Tiny => "tiny",
        Look::Fat => "fat",
    }
}

pub(super) fn order_name(order: FieldOrder) -> &'static str {
    match order {
        FieldOrder::Sdk => "sdk",
        FieldOrder::Collector => "collector",
    }
}

/// A payload's files.
#[derive(Debug, Clone)]
pub(super) struct Files {
    manifest: PathBuf,
    requests: PathBuf,
    traces: PathBuf,
}

/// What the files hold.
pub(super) struct Stored {
    pub(super) manifest: Manifest,
    pub(super) requests: Vec<u8>,
    pub(super) traces: Vec<u8>,
}

impl Files {
    pub(super) fn new(folder: &Path, asked: &Asked) -> Self {
        let at = |end: &str| folder.join(format!("{}.{end}", asked.stem()));
        Self { manifest: at("json"), requests: at("otlp"), traces: at("traces") }
    }

    /// What is there, if it is what was asked for and as it was written.
    pub(super) fn load(&self, asked: &Asked) -> Option<Stored> {
        let manifest: Manifest = serde_json::from_slice(&fs::read(&self.manifest).ok()?).ok()?;
        if manifest.format != FORMAT || manifest.asked != *asked {
            return None;
        }
        let (requests, traces) = (fs::read(&self.requests).ok()?, fs::read(&self.traces).ok()?);
        let is_whole = hash_of(&requests) == manifest.requests_xxh3
            && hash_of(&traces) == manifest.traces_xxh3;
        is_whole.then_some(Stored { manifest, requests, traces })
    }

    /// Writes a payload; the manifest last, so that half a payload is none.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn store(
        &self,
        made: Made,
        requests: Vec<u8>,
        traces: Vec<u8>,
    ) -> Result<Stored, TestbedError> {
        let manifest = Manifest {
            format: FORMAT,
            asked: made.asked,
            spans: made.spans,
            requests: made.requests,
            bytes: made.bytes,
            traces: made.traces,
            requests_xxh3: hash_of(&requests),
            traces_xxh3: hash_of(&traces),
        };
        let json = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| TestbedError::new(format!("cannot write a manifest: {error}")))?;
        let folder = self.manifest.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        for (path, bytes) in
            [(&self.requests, &requests), (&self.traces, &traces), (&self.manifest, &json)]
        {
            write(path, bytes).map_err(|error| failed(path, &error))?;
        }
        Ok(Stored { manifest, requests, traces })
    }
}

/// What was made, without its bytes.
pub(super) struct Made {
    pub(super) asked: Asked,
    pub(super) spans: u64,
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) traces: u64,
}

/// Puts a file in its place when it is whole: another run may be reading it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, path)
}

fn failed(path: &Path, error: &std::io::Error) -> TestbedError {
    TestbedError::new(format!("cannot write {}: {error}", path.display()))
}

/// XXH3-64 in hexadecimal.
pub(super) fn hash_of(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(seed: u64) -> Asked {
        let (look, field_order) = (Look::Plain, FieldOrder::Sdk);
        Asked::new(Sent { spans_per_request: 10, services: 2, look, field_order }, seed, 5)
    }

    fn made(asked: &Asked) -> Made {
        Made { asked: asked.clone(), spans: 5, requests: 1, bytes: 3, traces: 1 }
    }

    #[test]
    fn what_was_stored_is_found_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(&folder.path().join("new"), &asked(1));
        assert!(files.load(&asked(1)).is_none());
        files.store(made(&asked(1)), b"abc".to_vec(), b"d".to_vec()).unwrap();
        let stored = files.load(&asked(1)).unwrap();
        assert_eq!((&stored.requests[..], &stored.traces[..]), (&b"abc"[..], &b"d"[..]));
        assert_eq!(stored.manifest.requests_xxh3, "78af5f94892f3950");
        assert!(files.load(&asked(2)).is_none(), "another seed was asked for");
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path(), &asked(1));
        files.store(made(&asked(1)), b"abc".to_vec(), b"d".to_vec()).unwrap();
        fs::write(&files.requests, b"abd").unwrap();
        assert!(files.load(&asked(1)).is_none());
    }

    #[test]
    fn payloads_have_files_of_their_own() {
        let stem = |seed| Files::new(Path::new("x"), &asked(seed)).requests;
        assert_eq!(stem(1), Path::new("x/10x2-plain-sdk-5-seed1.otlp"));
        assert_ne!(stem(1), stem(2));
    }
}
