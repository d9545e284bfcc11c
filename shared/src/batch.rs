//! A batch: one OTLP export request, kept as its wire bytes.
//!
//! Invariant: only this file makes a [`Batch`], so whoever holds one may read it without an
//! error path.

use bytes::{Bytes, BytesMut};

use crate::wire::{self, Checked, Layout, Malformed, Signal};

/// One OTLP export request in wire form. Framing checked; clones share bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    items: usize,
    signal: Signal,
    layout: Layout,
}

impl Batch {
    /// Checks that `bytes` is an export request of `signal` and counts its items.
    ///
    /// # Errors
    /// [`Malformed`] when it is not; the sender must not retry it.
    pub fn parse(signal: Signal, bytes: Bytes) -> Result<Self, Malformed> {
        let Checked { items, layout } = wire::check(signal, &bytes)?;
        Ok(Self { bytes, items, signal, layout })
    }

    /// A batch of what was cut out of this one, or built by [`wire::Writer`] from records of it.
    ///
    /// `items` is its number of spans, data points or log records.
    pub fn part(&self, bytes: Bytes, items: usize) -> Self {
        Self { bytes, items, signal: self.signal, layout: self.layout }
    }

    /// A batch without items.
    pub fn empty(signal: Signal) -> Self {
        Self { bytes: Bytes::new(), items: 0, signal, layout: Layout::Mixed }
    }

    /// Both requests as one: an export request is one repeated field, so joining is
    /// concatenation.
    ///
    /// # Panics
    /// When the signals differ.
    pub fn concat(self, other: Batch) -> Batch {
        if self.items == 0 && self.bytes.is_empty() {
            return other;
        }
        Batch::concat_all(vec![self, other]).expect("two batches were given")
    }

    /// All requests as one, copied once; `None` when there are none.
    ///
    /// # Panics
    /// When the signals differ.
    pub fn concat_all(mut batches: Vec<Batch>) -> Option<Batch> {
        if batches.len() < 2 {
            return batches.pop();
        }
        let (signal, mut layout) = (batches[0].signal, batches[0].layout);
        let mut bytes =
            BytesMut::with_capacity(batches.iter().map(|batch| batch.bytes.len()).sum());
        let mut items = 0;
        for batch in &batches {
            assert_eq!(batch.signal, signal, "only batches of one signal can be joined");
            if batch.layout != layout {
                layout = Layout::Mixed;
            }
            bytes.extend_from_slice(&batch.bytes);
            items += batch.items;
        }
        Some(Batch { bytes: bytes.freeze(), items, signal, layout })
    }

    /// What the batch carries.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The request.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Spans, data points or log records in it.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Where its records keep their trace id.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The trace id of one of this batch's spans: 16 bytes, or none.
    #[inline]
    pub fn trace_id<'a>(&self, span: &'a [u8]) -> &'a [u8] {
        wire::span::trace_id(span, self.layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn batch(names: &[&[u8]], leading: bool) -> Batch {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(2, |scope| {
                for name in names {
                    scope.message(2, |span| {
                        if leading {
                            span.bytes(1, &[1; 16]);
                        }
                        span.bytes(5, name);
                        if !leading {
                            span.bytes(1, &[1; 16]);
                        }
                    });
                }
            });
        });
        Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
    }

    #[test]
    fn joining_keeps_every_item() {
        let joined = batch(&[b"a", b"b"], true).concat(batch(&[b"c"], true));
        assert_eq!(joined, Batch::parse(Signal::Traces, joined.bytes().clone()).unwrap());
        assert_eq!((joined.items(), joined.layout()), (3, Layout::Leading));
    }

    #[test]
    fn joined_layouts_agree_or_are_mixed() {
        let joined = batch(&[b"a"], true).concat(batch(&[b"b"], false));
        assert_eq!(joined.layout(), Layout::Mixed);
        let joined = Batch::empty(Signal::Traces).concat(batch(&[b"b"], false));
        assert_eq!(joined.layout(), Layout::Trailing);
    }

    #[test]
    fn bytes_that_are_no_request_are_refused() {
        assert!(Batch::parse(Signal::Traces, Bytes::from_static(&[0x0a, 5])).is_err());
    }
}
