//! What the edges say they did. All names of metrics are here.

use crate::report::thousands;
use crate::testbed::page::{Page, Sample};

/// Spans that receivers got, by what became of them.
const ACCEPTED: &str = "otelcol_receiver_accepted_spans";
const REFUSED: &str = "otelcol_receiver_refused_spans";
/// Spans by their final outcome; of the exporter under test only.
const SENT: &str = "otelcol_exporter_sent_spans";
const FAILED: &str = "otelcol_exporter_send_failed_spans";
/// Spans that never came as far as an attempt.
const NOT_ADMITTED: &[&str] =
    &["otelcol_exporter_enqueue_failed_spans", "otelcol_processor_memory_limiter_refused_spans"];
/// What an exporter has not answered for, in several units: all are 0 when it holds nothing.
const HELD: &[&str] = &[
    "otelcol_exporter_queue_size",
    "otelcol_exporter_in_flight_requests",
    "otelcol_loadbalancer_backend_queue_bytes",
];
/// Items that were sent again though it is not known whether the first attempt delivered them.
const POSSIBLE_DUPLICATES: &str = "otelcol_loadbalancer_possible_duplicate_items";

/// Counters of all edges, once they hold nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EdgeTotals {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) not_admitted: u64,
    /// 0 if nothing is held.
    pub(super) held: u64,
    /// None if this edge does not count them.
    pub(super) possible_duplicates: Option<u64>,
}

impl EdgeTotals {
    pub(super) fn of(page: &Page) -> Self {
        let ours = |sample: &Sample| sample.label("exporter").starts_with("load");
        let sum = |names: &[&str]| names.iter().map(|name| page.sum(name)).sum();
        let counts_duplicates = page.series(POSSIBLE_DUPLICATES).next().is_some();
        Self {
            accepted: page.sum(ACCEPTED),
            refused: page.sum(REFUSED),
            sent: page.sum_where(SENT, ours),
            failed: page.sum_where(FAILED, ours),
            not_admitted: sum(NOT_ADMITTED),
            held: sum(HELD),
            possible_duplicates: counts_duplicates.then(|| page.sum(POSSIBLE_DUPLICATES)),
        }
    }

    /// Whether every span that came in is accounted for.
    pub(super) fn adds_up(&self) -> bool {
        self.accepted + self.refused == self.sent + self.failed + self.not_admitted
    }

    /// The sum, spelled out.
    pub(super) fn sum(&self) -> String {
        let Self { accepted, refused, sent, failed, not_admitted, .. } = *self;
        let [accepted, refused, sent, failed, not_admitted] =
            [accepted, refused, sent, failed, not_admitted].map(thousands);
        let sign = if self.adds_up() { "=" } else { "≠" };
        format!(
            "{accepted} accepted + {refused} refused {sign} {sent} sent + {failed} failed + \
             {not_admitted} not admitted"
        )
    }
}
