//! The Collector's identities of resources and time series.
//!
//! Source: contrib `internal/exp/metrics/identity`, `pkg/pdatautil/hash.go`.

use shared::wire::{AnyValue, Attributes, DataKind, Metric, ScopeEntry};
use xxhash_rust::xxh64::xxh64;

/// How deep values are looked into; what is deeper counts as empty. Decoders stop there, too.
const MAX_DEPTH: usize = 100;

/// Makes digests of attributes, always in the same room.
#[derive(Default)]
pub(super) struct Digests<'a> {
    bytes: Vec<u8>,
    /// The entries of the maps that are being written, from the outermost on, each sorted.
    sorted: Vec<(&'a [u8], AnyValue<'a>)>,
}

impl<'a> Digests<'a> {
    /// The digest of attributes, in whatever order they are.
    pub(super) fn digest(
        &mut self,
        attributes: impl Iterator<Item = (&'a [u8], AnyValue<'a>)>,
    ) -> [u8; 16] {
        self.bytes.clear();
        self.put_map(attributes, 0);
        let mut digest = [0; 16];
        if self.bytes.is_empty() {
            return digest;
        }
        digest[..8].copy_from_slice(&xxh64(&self.bytes, 0).to_le_bytes());
        self.bytes.push(0xf3);
        digest[8..].copy_from_slice(&xxh64(&self.bytes, 0).to_le_bytes());
        digest
    }

    fn put_map(&mut self, entries: impl Iterator<Item = (&'a [u8], AnyValue<'a>)>, depth: usize) {
        let start = self.sorted.len();
        self.sorted.extend(entries);
        self.sorted[start..].sort_by_key(|(key, _)| *key);
        let end = self.sorted.len();
        for index in start..end {
            let (key, mut value) = self.sorted[index];
            // Of several entries with one key the first counts, but for all of them.
            let same =
                self.sorted[start..index].iter().rev().take_while(|(other, _)| *other == key);
            if let Some((_, first)) = same.last() {
                value = *first;
            }
            self.bytes.push(0xf4);
            self.bytes.extend_from_slice(key);
            self.put_value(value, depth);
        }
        self.sorted.truncate(start);
    }

    fn put_value(&mut self, value: AnyValue<'a>, depth: usize) {
        match value {
            AnyValue::String(text) => self.put(0xf7, text),
            AnyValue::Bool(true) => self.put(0xf8, &[]),
            AnyValue::Bool(false) => self.put(0xf9, &[]),
            AnyValue::Int(number) => self.put(0xfa, &number.to_le_bytes()),
            AnyValue::Double(number) => self.put(0xfb, &number.to_bits().to_le_bytes()),
            AnyValue::Bytes(bytes) => self.put(0xf6, bytes),
            AnyValue::KeyValues(list) if depth < MAX_DEPTH => {
                self.bytes.push(0xfc);
                self.put_map(Attributes::of_list(list), depth + 1);
                self.bytes.push(0xfd);
            }
            AnyValue::Array(array) if depth < MAX_DEPTH => {
                self.bytes.push(0xfe);
                for element in AnyValue::elements(array) {
                    self.put_value(element, depth + 1);
                }
                self.bytes.push(0xff);
            }
            AnyValue::Empty | AnyValue::KeyValues(_) | AnyValue::Array(_) => self.put(0xf5, &[]),
        }
    }

    fn put(&mut self, tag: u8, content: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(content);
    }
}

/// FNV-1a of 64 bits: what identities are, one level upon the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64);

impl Identity {
    /// Of a resource, by the digest of its attributes.
    pub(super) fn of_resource(digest: [u8; 16]) -> Self {
        Self(0xcbf2_9ce4_8422_2325).with(&digest)
    }

    /// Of a scope of it.
    pub(super) fn of_scope(self, scope: ScopeEntry<'_>, digest: [u8; 16]) -> Self {
        self.with(scope.name()).with(scope.version()).with(&digest)
    }

    /// Of a metric of that scope.
    pub(super) fn of_metric(self, metric: &Metric<'_>) -> Self {
        let (kind, monotonic) = match metric.kind {
            None => (0, false),
            Some(DataKind::Gauge) => (1, false),
            Some(DataKind::Sum) => (2, metric.monotonic),
            Some(DataKind::Histogram) => (3, true),
            Some(DataKind::ExponentialHistogram) => (4, true),
            Some(DataKind::Summary) => (5, false),
        };
        let temporality = match metric.kind {
            None | Some(DataKind::Gauge | DataKind::Summary) => 0,
            Some(_) => u8::try_from(metric.temporality.number()).unwrap_or(0),
        };
        self.with(metric.name).with(metric.unit).with(&[kind, monotonic.into(), temporality])
    }

    /// Of a time series of that metric, by the digest of its points' attributes.
    pub(super) fn of_stream(self, digest: [u8; 16]) -> Self {
        self.with(&digest)
    }

    /// Appends its text after that of its kind: `resource/1bf90ef810dca1f5`. Not padded.
    pub(super) fn put(self, kind: &str, key: &mut Vec<u8>) {
        key.extend_from_slice(format!("{kind}/{:x}", self.0).as_bytes());
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }
}
