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
use tokio::sync::OwnedSemaphorePermit;

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

/// What comes in pieces, with pauses in which others have their turn.
pub(crate) trait Pieces {
    /// Works for a short while.
    fn step(&mut self) -> Step;
}

/// What came of a short while's work.
pub(crate) enum Step {
    Piece(Vec<u8>),
    /// Nothing yet.
    Working,
    Done,
}

impl Step {
    /// As a body gives it.
    pub(crate) fn poll(self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self {
            Step::Piece(piece) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
            Step::Done => Poll::Ready(None),
            Step::Working => {
                // Goes on after others, and not at all if the scraper has gone.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
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
    /// Its place among those that may be under way.
    #[allow(dead_code, reason = "held until it is dropped, never read")]
    place: Option<OwnedSemaphorePermit>,
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
    /// Of several kept families, or with other names of labels: being copied page by page,
    Gathering {
        rows: Vec<Row>,
        members: std::vec::IntoIter<Arc<str>>,
        page: Option<(Arc<str>, Next)>,
    },
    /// and in order.
    Gathered(Peekable<std::vec::IntoIter<Row>>),
}

/// The next series of a family.
enum Series {
    Next(LabelSet, Arc<Point>),
    /// It is not known yet.
    Working,
    NoMore,
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
        let (family, is_finished, place) = (None, false, None);
        Self { collection, style, now, planned, family, renamed, is_finished, place }
    }

    /// Holds `place` until it is sent.
    pub(crate) fn in_place(self, place: OwnedSemaphorePermit) -> Self {
        Self { place: Some(place), ..self }
    }

    fn begin(&self, head: Planned) -> Family {
        let rows = match (&*head.members, self.is_escaped()) {
            ([_], false) => {
                Rows::Paged { page: Vec::new().into_iter().peekable(), next: Next::First }
            }
            _ => Rows::Gathering {
                rows: Vec::new(),
                members: head.members.clone().into_iter(),
                page: None,
            },
        };
        Family { head, rows, is_begun: false, message: protobuf::Family::default() }
    }

    /// Whether labels get other names than they are kept by.
    fn is_escaped(&self) -> bool {
        (self.style.kept, self.style.format.charset) == (Charset::Utf8, Charset::Legacy)
    }

    /// The next series of the family that is being written.
    fn next_series(&mut self) -> Series {
        let is_escaped = self.is_escaped();
        let Some(family) = self.family.as_mut() else { return Series::NoMore };
        let kind = family.head.kind;
        match &mut family.rows {
            Rows::Gathered(rows) => merged(rows).unwrap_or(Series::NoMore),
            Rows::Gathering { rows, members, page } => {
                let next = page.take().or_else(|| Some((members.next()?, Next::First)));
                match next {
                    Some((name, next)) => {
                        let Some(after) = next.behind() else { return Series::Working };
                        let read =
                            lock(&self.collection).page(&name, kind, after.as_ref(), self.now);
                        rows.extend(read.rows.into_iter().map(|row| match is_escaped {
                            true => Row { labels: row.labels.escaped(), ..row },
                            false => row,
                        }));
                        *page = read.next.map(|labels| (name, Next::Behind(labels)));
                    }
                    None => {
                        let mut rows = std::mem::take(rows);
                        // Stable, so that what is added up always has the same order.
                        rows.sort_by(|one, other| one.labels.cmp(&other.labels));
                        family.rows = Rows::Gathered(rows.into_iter().peekable());
                    }
                }
                Series::Working
            }
            Rows::Paged { page, next } => {
                if let Some(series) = merged(page) {
                    return series;
                }
                let next_page = std::mem::replace(next, Next::NoMore).behind();
                let (Some(after), Some(name)) = (next_page, family.head.members.first()) else {
                    return Series::NoMore;
                };
                let Page { rows, next: more } =
                    lock(&self.collection).page(name, kind, after.as_ref(), self.now);
                *page = rows.into_iter().peekable();
                *next = more.map_or(Next::NoMore, Next::Behind);
                merged(page).unwrap_or(Series::Working)
            }
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

impl Next {
    /// Behind which labels it is, if any; `None` if there is none.
    #[allow(clippy::option_option, reason = "whether there is one, and whether behind something")]
    fn behind(self) -> Option<Option<LabelSet>> {
        match self {
            Next::First => Some(None),
            Next::Behind(labels) => Some(Some(labels)),
            Next::NoMore => None,
        }
    }
}

impl Pieces for Scrape {
    fn step(&mut self) -> Step {
        if self.is_finished {
            return Step::Done;
        }
        let mut out = Vec::with_capacity(CHUNK_BYTES + 4096);
        while out.len() < CHUNK_BYTES {
            match self.next_series() {
                Series::Next(labels, point) => self.write(&mut out, &labels, &point),
                Series::Working => break,
                Series::NoMore => {
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
            }
        }
        if out.is_empty() { Step::Working } else { Step::Piece(out) }
    }
}

impl Body for Scrape {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.step().poll(cx)
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
fn merged(rows: &mut Peekable<std::vec::IntoIter<Row>>) -> Option<Series> {
    let Row { labels, mut point } = rows.next()?;
    while let Some(other) = rows.next_if(|row| row.labels == labels) {
        point = Arc::new(point.joined(&other.point));
    }
    Some(Series::Next(labels, point))
}

/// Series that a panic left behind are still the best there are.
pub(crate) fn lock(collection: &Mutex<Collection>) -> std::sync::MutexGuard<'_, Collection> {
    collection.lock().unwrap_or_else(PoisonError::into_inner)
}
