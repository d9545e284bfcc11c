//! What is to be generated: one seed and a few sizes say it all.

use std::time::Duration;

use shared::Signal;

/// What a generator makes. Equal plans make equal bytes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seeds every choice.
    pub seed: u64,
    /// What the requests hold: spans, or one log record or data point for each span.
    pub signal: Signal,
    /// Number of traces; the generator may be told to finish earlier.
    pub traces: u64,
    /// Number of services, at most [`Plan::MAX_SERVICES`]; with one, it has one instance.
    pub services: usize,
    /// What spans carry.
    pub look: Look,
    /// Spans in a request; the last ones may have fewer.
    pub spans_per_request: usize,
    /// Number of consecutive requests that the spans of a trace are spread over.
    pub spread: usize,
    /// One trace in so many is a giant of 2,000 to 20,000 spans; 0 for none.
    pub giants: u32,
    /// Order of the fields in every message.
    pub field_order: FieldOrder,
    /// Start of the first trace, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
}

impl Plan {
    /// As many services as the vocabulary has.
    pub const MAX_SERVICES: usize = crate::generate::vocabulary::SERVICES.len();

    /// A plan of this many traces with sizes as SDKs and agents send them.
    pub fn new(seed: u64, traces: u64) -> Self {
        Self {
            seed,
            signal: Signal::Traces,
            traces,
            services: 12,
            look: Look::Plain,
            spans_per_request: 128,
            spread: 4,
            giants: 0,
            field_order: FieldOrder::Sdk,
            start_ns: 1_700_000_000_000_000_000,
        }
    }

    /// The same with requests so small that at `rate` spans a second the spans of a trace are all
    /// sent within `window`.
    ///
    /// A trace whose spans are further apart than the backends' decision wait is judged on a part
    /// of it, and rightly so.
    #[must_use]
    pub fn within(mut self, window: Duration, rate: u64) -> Self {
        let spans_in_window = u128::from(rate) * window.as_millis() / 1000;
        let requests = self.spread as u128 + 1;
        let most = usize::try_from(spans_in_window / requests).unwrap_or(usize::MAX);
        self.spans_per_request = self.spans_per_request.min(most.max(1));
        self
    }
}

/// What spans carry besides ids, name, kind, times and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Twelve attributes after the semantic conventions, now and then an event or a link.
    Plain,
    /// Nothing.
    Tiny,
    /// Twenty attributes of 5,000 bytes.
    Fat,
}

/// Order in which a message's fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FieldOrder {
    /// Ascending field numbers, as SDKs write them: a span begins with its trace id.
    Sdk,
    /// Descending field numbers, as Collectors write them: a span ends with its trace id.
    Collector,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_rates_make_small_requests() {
        let plan = Plan::new(1, 10).within(Duration::from_secs(2), 100);
        assert_eq!(plan.spans_per_request, 40);
        let plan = Plan::new(1, 10).within(Duration::from_secs(2), 1);
        assert_eq!(plan.spans_per_request, 1);
        let plan = Plan::new(1, 10).within(Duration::from_secs(2), u64::MAX);
        assert_eq!(plan.spans_per_request, 128);
    }
}
