//! What the connector says of itself. The Collector's has no metrics, so the names are ours.

use std::collections::BTreeMap;

use crate::metric_set;

use super::counter::Limit;

metric_set! {
    /// What a span-metrics connector counts.
    pub(crate) struct SpanMetricsMetrics ["connector"];
    /// Number of spans that came in.
    spans: Counter = "otelcol_connector_spanmetrics_spans", "{span}";
    /// Number of series, overflow series aside.
    series: Gauge = "otelcol_connector_spanmetrics_series", "{series}";
    /// Number of bytes that series and resources take.
    series_bytes: Gauge = "otelcol_connector_spanmetrics_series_memory", "By";
    /// Number of resources.
    resources: Gauge = "otelcol_connector_spanmetrics_resources", "{resource}";
    /// Number of series that were forgotten after a time without spans, or to make room.
    expired: Counter = "otelcol_connector_spanmetrics_expired_series", "{series}";
    /// Number of data points that the next consumer did not take.
    rejected_points: Counter = "otelcol_connector_spanmetrics_rejected_metric_points", "{datapoint}";
    /// Number of data points that were given up: no later flush repeats them.
    lost_points: Counter = "otelcol_connector_spanmetrics_lost_metric_points", "{datapoint}";
    /// Number of bytes of deltas that wait to be handed on again.
    undelivered_bytes: Gauge = "otelcol_connector_spanmetrics_undelivered_memory", "By";
    /// How long the last flush took, handing on included.
    flush_seconds: Gauge = "otelcol_connector_spanmetrics_flush_duration_seconds", "s";
}

metric_set! {
    /// Spans that were not counted in the connector's metrics, by reason.
    pub(crate) struct SkippedMetrics ["connector", "reason"];
    /// Number of spans that were skipped.
    spans: Counter = "otelcol_connector_spanmetrics_skipped_spans", "{span}";
}

/// The reason of spans whose resource has no `service.name`.
pub(crate) const NO_SERVICE: &str = "no_service_name";

metric_set! {
    /// Spans that were counted, but not in the metric of self times, by reason.
    pub(crate) struct UnmeasuredMetrics ["connector", "reason"];
    /// Number of spans whose self time is not known.
    spans: Counter = "otelcol_connector_spanmetrics_unmeasured_self_times", "{span}";
}

/// The reason of spans whose trace is not complete in its batch.
pub(crate) const INCOMPLETE: &str = "incomplete_trace";
/// The reason of spans without ids, and of those that end before they start.
pub(crate) const UNUSABLE: &str = "no_ids_or_negative_duration";

metric_set! {
    /// Observations that went to overflow series, by the limit that was reached.
    pub(crate) struct OverflowMetrics ["connector", "limit"];
    /// Number of observations that found no series of their own and went to an overflow series.
    observations: Counter = "otelcol_connector_spanmetrics_overflowed_observations", "{observation}";
}

metric_set! {
    /// The same for the services that most are of.
    pub(crate) struct ServiceOverflowMetrics expiring ["connector", "service"];
    /// Number of observations of a service that went to an overflow series; the service is empty for all that are not told apart. Follows with every flush.
    observations: Counter = "otelcol_connector_spanmetrics_service_overflowed_observations", "{observation}";
}

/// The overflow metrics of each limit.
pub(crate) fn overflow_metrics(connector: &str) -> [OverflowMetrics; Limit::ALL.len()] {
    Limit::ALL
        .map(|limit| OverflowMetrics::new(&[("connector", connector), ("limit", limit.name())]))
}

/// Services with a series of their own.
const OFFENDERS: usize = 20;
/// Flushes without overflow after which a service gives its place up.
const PATIENCE: u32 = 5;

/// Counts overflow by service: with a series for each of the worst, and one for all others.
pub(crate) struct Offenders {
    connector: String,
    worst: BTreeMap<Box<[u8]>, Offender>,
    others: ServiceOverflowMetrics,
}

struct Offender {
    metrics: ServiceOverflowMetrics,
    /// What it did at the last flush.
    last: u64,
    quiet_flushes: u32,
}

impl Offenders {
    pub(crate) fn new(connector: &str) -> Self {
        let others = ServiceOverflowMetrics::new(&[("connector", connector), ("service", "")]);
        Self { connector: connector.to_owned(), worst: BTreeMap::new(), others }
    }

    /// Adds what a flush found; a service may occur several times.
    pub(crate) fn note(&mut self, overflowed: Vec<(Box<[u8]>, u64)>) {
        let mut by_service: BTreeMap<Box<[u8]>, u64> = BTreeMap::new();
        for (service, count) in overflowed {
            *by_service.entry(service).or_default() += count;
        }
        for (service, offender) in &mut self.worst {
            offender.last = by_service.remove(service).unwrap_or(0);
            offender.metrics.observations.increment(offender.last);
            offender.quiet_flushes =
                if offender.last == 0 { offender.quiet_flushes + 1 } else { 0 };
        }
        self.worst.retain(|_, offender| offender.quiet_flushes < PATIENCE);
        let mut others: Vec<(Box<[u8]>, u64)> = by_service.into_iter().collect();
        others.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (service, count) in others {
            match !service.is_empty() && self.make_room(count) {
                true => self.add(service, count),
                false => self.others.observations.increment(count),
            }
        }
    }

    /// Whether there is a place for a service with this count: a free one, or that of a lesser.
    fn make_room(&mut self, count: u64) -> bool {
        if self.worst.len() < OFFENDERS {
            return true;
        }
        let least = self.worst.iter().min_by_key(|(_, offender)| offender.last);
        let Some((service, _)) = least.filter(|(_, offender)| offender.last < count) else {
            return false;
        };
        let service = service.clone();
        self.worst.remove(&service).is_some()
    }

    fn add(&mut self, service: Box<[u8]>, count: u64) {
        let name = String::from_utf8_lossy(&service);
        let metrics =
            ServiceOverflowMetrics::new(&[("connector", &self.connector), ("service", &name)]);
        metrics.observations.increment(count);
        self.worst.insert(service, Offender { metrics, last: count, quiet_flushes: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::expiring::Local;

    fn services(counts: impl IntoIterator<Item = (usize, u64)>) -> Vec<(Box<[u8]>, u64)> {
        counts
            .into_iter()
            .map(|(name, count)| (format!("s{name}").into_bytes().into(), count))
            .collect()
    }

    #[track_caller]
    fn check(local: &Local, service: &str, expected: Option<u64>) {
        let page = local.render();
        let series = format!("connector=\"c\",service=\"{service}\"}} ");
        let found = page.lines().find_map(|line| line.split_once(&series)).map(|(_, value)| value);
        assert_eq!(found.map(|value| value.parse().unwrap()), expected, "{service} in\n{page}");
    }

    #[test]
    fn the_worst_services_are_told_and_all_others_together() {
        let local = Local::default();
        let _entered = local.enter();
        let mut offenders = Offenders::new("c");
        // The service of two resources is one; one without a name cannot be told.
        offenders.note(services([(0, 5), (0, 6)]));
        offenders.note(vec![(Box::default(), 3)]);
        check(&local, "s0", Some(11));
        check(&local, "", Some(3));
        // 20 have places: s0, which is quiet now, makes room for the last that is worse.
        offenders.note(services((1..=30).map(|name| (name, name as u64))));
        check(&local, "s30", Some(30));
        check(&local, "s11", Some(11));
        check(&local, "s10", None);
        check(&local, "", Some(3 + (1..=10).sum::<u64>()));
    }

    #[test]
    fn a_service_that_was_quiet_for_long_gives_its_place_up() {
        let local = Local::default();
        let _entered = local.enter();
        let mut offenders = Offenders::new("c");
        offenders.note(services([(0, 5)]));
        for _ in 0..PATIENCE - 1 {
            offenders.note(Vec::new());
        }
        assert_eq!(offenders.worst.len(), 1);
        offenders.note(Vec::new());
        assert!(offenders.worst.is_empty());
        // Its count stays on the page for a while.
        check(&local, "s0", Some(5));
    }
}
