//! Puts data points of several batches together into requests, and keeps account of them.
//!
//! ```text
//! batch ─▶ Ticket ◀─┬─ Part (data points of one row) ─▶ Share (in a request) ─▶ outcome
//!                   └─ …
//! ```
//!
//! Every data point is in a [`Part`], then in a [`Share`], and counts once: with the outcome of
//! its request, or when the part or share is dropped without one.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use shared::config::Compression;
use shared::metadata::Metadata;
use shared::telemetry::memory;
use shared::transport::compression::compress;
use tokio::sync::OwnedSemaphorePermit;

use super::client::alike;
use super::config::Message;
use super::encode::{Content, Encoder};
use super::reason::Reason;
use super::series::{Family, Point};
use super::ticket::Ticket;

/// What one batch has for one row.
pub(super) struct Part {
    ticket: Arc<Ticket>,
    metadata: Option<Arc<Metadata>>,
    points: VecDeque<Point>,
    families: Vec<Arc<Family>>,
    _held: memory::Held,
    /// Its room in the row.
    room: Vec<OwnedSemaphorePermit>,
}

/// Data points in a request that are of one batch.
pub(super) struct Share {
    ticket: Arc<Ticket>,
    items: usize,
}

/// A request to be sent.
pub(super) struct Outgoing {
    /// Compressed.
    pub(super) body: Bytes,
    pub(super) metadata: Option<Arc<Metadata>>,
    pub(super) content: Content,
    pub(super) shares: Vec<Share>,
}

/// What waits in a row, oldest first.
#[derive(Default)]
pub(super) struct Backlog {
    parts: VecDeque<Part>,
    size_bytes: usize,
}

impl Part {
    pub(super) fn new(
        ticket: &Arc<Ticket>,
        metadata: Option<Arc<Metadata>>,
        points: Vec<Point>,
        families: Vec<Arc<Family>>,
    ) -> Self {
        let held = memory::Held::new(size_bytes(&points, &families));
        Self {
            ticket: Arc::clone(ticket),
            metadata,
            points: points.into(),
            families,
            _held: held,
            room: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty() && self.families.is_empty()
    }

    /// What it takes in requests, at most.
    pub(super) fn size_bytes(&self) -> usize {
        size_bytes(&self.points, &self.families)
    }

    /// The same, with its room in a row.
    pub(super) fn in_room(mut self, room: OwnedSemaphorePermit) -> Self {
        self.room.push(room);
        self
    }
}

fn size_bytes<'a>(points: impl IntoIterator<Item = &'a Point>, families: &[Arc<Family>]) -> usize {
    let points: usize = points.into_iter().map(|point| point.size_bytes).sum();
    points + families.iter().map(|family| family.size_bytes()).sum::<usize>()
}

impl Drop for Part {
    fn drop(&mut self) {
        let items = self.points.iter().map(|point| point.items).sum();
        self.ticket.cut_off(items);
    }
}

impl Share {
    /// A whole batch, of so many data points, that is not translated yet.
    pub(super) fn whole(ticket: Ticket, items: usize) -> Self {
        Self { ticket: Arc::new(ticket), items }
    }

    /// Its data points have become parts, which count them from now on.
    pub(super) fn into_ticket(mut self) -> Arc<Ticket> {
        self.items = 0;
        Arc::clone(&self.ticket)
    }

    /// How many data points it counts for.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// The receiver has them.
    pub(super) fn delivered(mut self) {
        self.ticket.delivered(std::mem::take(&mut self.items));
    }

    /// They were given up.
    pub(super) fn failed(mut self, reason: Reason, is_final: Finality, text: &str) {
        self.ticket.failed(std::mem::take(&mut self.items), reason, is_final, text);
    }

    /// Some of them were not written; the rest arrived.
    pub(super) fn not_written(mut self, items: usize, text: &str) {
        let lost = items.min(std::mem::take(&mut self.items));
        self.ticket.failed(lost, Reason::NotWritten, Finality::Final, text);
    }

    /// They stay where they are kept, in the write-ahead log.
    pub(super) fn kept(mut self) {
        self.items = 0;
        self.ticket.keep();
    }
}

/// Whether to try again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finality {
    Final,
    ForNow,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.ticket.cut_off(std::mem::take(&mut self.items));
    }
}

impl Backlog {
    pub(super) fn push(&mut self, part: Part) {
        self.size_bytes += part.size_bytes();
        self.parts.push_back(part);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What waits, as it counts in requests.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Takes the next request of at most `max_bytes`, uncompressed, unless one data point is
    /// larger. What came with other metadata is for another one. `None` when nothing waits.
    pub(super) fn next(&mut self, message: Message, max_bytes: usize) -> Option<Outgoing> {
        let metadata = self.parts.front()?.metadata.clone();
        let mut encoder = Encoder::new(message);
        let (mut size, mut shares) = (0, Vec::<Share>::new());
        while let Some(part) = self.parts.front_mut() {
            if !alike(part.metadata.as_ref(), metadata.as_ref()) {
                break;
            }
            while let Some(family) = part.families.pop() {
                let family_size = family.size_bytes();
                if size > 0 && size + family_size > max_bytes {
                    part.families.push(family);
                    break;
                }
                encoder.family(&family);
                size += family_size;
            }
            let mut items = 0;
            while let Some(point) = part.points.front() {
                if size > 0 && size + point.size_bytes > max_bytes {
                    break;
                }
                encoder.point(point);
                size += point.size_bytes;
                items += point.items;
                part.points.pop_front();
            }
            shares.push(Share { ticket: Arc::clone(&part.ticket), items });
            if !part.is_empty() {
                break;
            }
            self.parts.pop_front();
        }
        self.size_bytes = self.size_bytes.saturating_sub(size);
        if encoder.is_empty() {
            return None;
        }
        let (request, content) = encoder.finish();
        let body =
            compress(Compression::Snappy, &request).expect("a Vec takes all that is written");
        Some(Outgoing { body: body.into(), metadata, content, shares })
    }
}
