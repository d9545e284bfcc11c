//! One answer to a scrape, made piece by piece while it is sent.
//!
//! Series are copied by pages of some hundred under a short lock, then written without one; a
//! scraper that reads slowly holds nothing up, and a large answer never stands in memory as a
//! whole. So each series is as it was at one moment, and different ones at different moments.

use std::convert::Infallible;
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame};

use super::collection::Collection;
use super::family::{Page, Row};
use super::label_set::LabelSet;
use super::names::Charset;
use super::negotiate::{Exposition, Format};
use super::plan::Planned;
use super::protobuf::{self, Classic};
use super::text::{self, Dialect};
use super::value::Point;

/// How much is written at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Whether samples carry their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timestamps {
    Written,
    LeftOut,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// The characters of the names that are kept.
    pub(crate) kept: Charset,
    pub(crate) timestamps: Timestamps,
    pub(crate) classic: Classic,
}

/// All families, in pieces.
pub(crate) struct Scrape {
    collection: Arc<Mutex<Collection>>,
    style: Style,
    now: Instant,
    planned: std::vec::IntoIter<Planned>,
    family: Option<Family>,
    /// How many families have another name than theirs.
    pub(crate) renamed: usize,
    is_finished: bool,
}

/// A family that is being written.
struct Family {
    head: Planned,
    rows: Rows,
    /// Whether its first lines are written; in protobuf, what of it is not.
    is_begun: bool,
    message: protobuf::Family,
}

/// The series of a family, in their order.
enum Rows {
    /// Page by page, of one kept family: what is kept is in order.
    Paged { page: Peekable<std::vec::IntoIter<Row>>, next: Next },
    /// All at once: of several kept families, or with other names of labels.
    Gathered(Peekable<std::vec::IntoIter<Row>>),
}

/// Where the next page begins.
enum Next {
    First,
    Behind(LabelSet),
    NoMore,
}

impl Scrape {
    pub(crate) fn new(collection: Arc<Mutex<Collection>>, style: Style, now: Instant) -> Self {
        let plan = lock(&collection).plan(style.format.charset);
        let (planned, renamed) = (plan.families.into_iter(), plan.renamed);
        Self { collection, style, now, planned, family: None, renamed, is_finished: false }
    }

    fn begin(&self, head: Planned) -> Family {
        let is_escaped = self.style.kept != self.style.format.charset
            && self.style.format.charset == Charset::Legacy;
        let rows = match (&*head.members, is_escaped) {
            ([_], false) => {
                Rows::Paged { page: Vec::new().into_iter().peekable(), next: Next::First }
            }
            _ => Rows::Gathered(self.gather(&head, is_escaped).into_iter().peekable()),
        };
        Family { head, rows, is_begun: false, message: protobuf::Family::default() }
    }

    /// All series of a family that does not come in order.
    fn gather(&self, head: &Planned, is_escaped: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        for member in &head.members {
            let mut after: Option<LabelSet> = None;
            loop {
                let page = lock(&self.collection).page(member, head.kind, after.as_ref(), self.now);
                rows.extend(page.rows.into_iter().map(|row| match is_escaped {
                    true => Row { labels: row.labels.escaped(), ..row },
                    false => row,
                }));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        // Stable, so that what is added up always has the same order.
        rows.sort_by(|one, other| one.labels.cmp(&other.labels));
        rows
    }

    /// The next series of the family that is being written.
    fn next_series(&mut self) -> Option<(LabelSet, Arc<Point>)> {
        let family = self.family.as_mut()?;
        loop {
            let (page, next) = match &mut family.rows {
                Rows::Gathered(rows) => return merged(rows),
                Rows::Paged { page, next } => (page, next),
            };
            if let Some(series) = merged(page) {
                return Some(series);
            }
            let after = match std::mem::replace(next, Next::NoMore) {
                Next::First => None,
                Next::Behind(labels) => Some(labels),
                Next::NoMore => return None,
            };
            let name = family.head.members.first()?;
            let Page { rows, next: more } =
                lock(&self.collection).page(name, family.head.kind, after.as_ref(), self.now);
            *page = rows.into_iter().peekable();
            *next = more.map_or(Next::NoMore, Next::Behind);
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, labels: &LabelSet, point: &Point) {
        let Some(family) = &mut self.family else { return };
        let head = &family.head;
        let time_ns = (self.style.timestamps == Timestamps::Written && point.time_ns != 0)
            .then_some(point.time_ns);
        let Some(dialect) = self.style.format.exposition.dialect() else {
            family.message.add(labels, point, time_ns, self.style.classic);
            if family.message.is_large() {
                family.message.write(out, &head.name, head.kind, &head.help);
            }
            return;
        };
        if !std::mem::replace(&mut family.is_begun, true) {
            text::write_header(out, dialect, &head.name, head.kind, &head.help);
        }
        text::write_series(out, dialect, &head.name, labels, point, time_ns);
    }

    fn finish_family(&mut self, out: &mut Vec<u8>) {
        if let Some(mut family) = self.family.take() {
            let head = &family.head;
            family.message.write(out, &head.name, head.kind, &head.help);
        }
    }
}

impl Iterator for Scrape {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.is_finished {
            return None;
        }
        let mut out = Vec::with_capacity(CHUNK_BYTES + 4096);
        while out.len() < CHUNK_BYTES {
            if let Some((labels, point)) = self.next_series() {
                self.write(&mut out, &labels, &point);
                continue;
            }
            self.finish_family(&mut out);
            let Some(head) = self.planned.next() else {
                self.is_finished = true;
                if let Some(dialect) = self.style.format.exposition.dialect() {
                    text::write_end(&mut out, dialect);
                }
                break;
            };
            self.family = Some(self.begin(head));
        }
        (!out.is_empty()).then_some(out)
    }
}

impl Body for Scrape {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|chunk| Ok(Frame::data(chunk.into()))))
    }
}

impl Exposition {
    /// Of the text; none is protobuf.
    fn dialect(self) -> Option<Dialect> {
        match self {
            Exposition::Text => Some(Dialect::Prometheus),
            Exposition::OpenMetrics | Exposition::OpenMetricsDraft => Some(Dialect::OpenMetrics),
            Exposition::Protobuf => None,
        }
    }
}

/// The next series, of which there may be several rows.
fn merged(rows: &mut Peekable<std::vec::IntoIter<Row>>) -> Option<(LabelSet, Arc<Point>)> {
    let Row { labels, mut point } = rows.next()?;
    while let Some(other) = rows.next_if(|row| row.labels == labels) {
        point = Arc::new(point.joined(&other.point));
    }
    Some((labels, point))
}

/// Series that a panic left behind are still the best there are.
pub(crate) fn lock(collection: &Mutex<Collection>) -> std::sync::MutexGuard<'_, Collection> {
    collection.lock().unwrap_or_else(PoisonError::into_inner)
}
