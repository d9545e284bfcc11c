//! Writes series as OTLP metrics.

use super::series::{Buckets, Latencies, Series, seconds};
use crate::wire::{Fields, Temporality, Writer};
use crate::{Batch, Signal};

/// Series that a request holds at most: with the default buckets they make about a mebibyte.
/// Receivers commonly refuse messages above 4 MiB.
const REQUEST_SERIES: usize = 1500;

/// The scope's name that the Collector writes.
const SCOPE: &[u8] = b"traces_service_graph";

/// What a metric tells of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Requests,
    Failed,
    Server,
    Client,
}

impl Measure {
    /// In the Collector's order.
    const ALL: [Self; 4] = [Self::Requests, Self::Failed, Self::Server, Self::Client];

    /// Name and description. The Collector's say nothing, which linters complain of.
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Measure::Requests => {
                ("traces_service_graph_request_total", "Number of requests between two services.")
            }
            Measure::Failed => (
                "traces_service_graph_request_failed_total",
                "Number of failed requests between two services.",
            ),
            Measure::Server => (
                "traces_service_graph_request_server",
                "Time of requests between two services as the server saw it.",
            ),
            Measure::Client => (
                "traces_service_graph_request_client",
                "Time of requests between two services as the client saw it.",
            ),
        }
    }

    const fn latencies(self, series: &Series) -> Option<&Latencies> {
        match self {
            Measure::Server => Some(&series.server),
            Measure::Client => Some(&series.client),
            Measure::Requests | Measure::Failed => None,
        }
    }
}

/// All series in requests of a size that receivers take.
pub(super) fn batches(series: &[Series], buckets: &Buckets, now_ns: u64) -> Vec<Batch> {
    let requests = series.chunks(REQUEST_SERIES).map(|series| {
        let (mut request, mut points) = (Writer::new(), 0);
        request.message(1, |entry| {
            entry.message(2, |scope| {
                scope.message(1, |scope| scope.bytes(1, SCOPE));
                for measure in Measure::ALL {
                    points += write_metric(scope, measure, series, buckets, now_ns);
                }
            });
        });
        Batch::empty(Signal::Metrics).part(request.into_vec().into(), points)
    });
    requests.collect()
}

/// Writes a metric if it has points; tells how many.
fn write_metric(
    scope: &mut Writer,
    measure: Measure,
    series: &[Series],
    buckets: &Buckets,
    now_ns: u64,
) -> usize {
    // What has not failed has no failures to tell of.
    let told = series.iter().filter(|series| measure != Measure::Failed || series.failed > 0);
    let points = told.clone().count();
    if points == 0 {
        return 0;
    }
    let is_sum = matches!(measure, Measure::Requests | Measure::Failed);
    let (data, attributes) = match buckets {
        _ if is_sum => (7, 7),
        Buckets::Explicit { .. } => (9, 9),
        Buckets::Exponential { .. } => (10, 1),
    };
    scope.message(2, |metric| {
        let (name, description) = measure.texts();
        metric.bytes(1, name.as_bytes());
        metric.bytes(2, description.as_bytes());
        if !is_sum {
            metric.bytes(3, b"s");
        }
        metric.message(data, |data| {
            for series in told {
                data.message(1, |point| {
                    // Clocks may step back.
                    let time_ns = now_ns.max(series.start_ns);
                    for attribute in Fields::new(&series.key) {
                        point.bytes(attributes, attribute.value.bytes().unwrap_or_default());
                    }
                    point.fixed64(2, series.start_ns);
                    point.fixed64(3, time_ns);
                    match measure.latencies(series) {
                        Some(latencies) => write_latencies(point, latencies, buckets),
                        None if measure == Measure::Failed => point.fixed64(6, series.failed),
                        None => point.fixed64(6, series.requests),
                    }
                });
            }
            data.varint(2, Temporality::Cumulative.number());
            if is_sum {
                data.varint(3, 1); // is_monotonic
            }
        });
    });
    points
}

fn write_latencies(point: &mut Writer, latencies: &Latencies, buckets: &Buckets) {
    match latencies {
        Latencies::Exponential(histogram) => histogram.write(point),
        Latencies::Explicit { counts, sum_ns } => {
            point.fixed64(4, counts.iter().sum());
            point.double(5, seconds(*sum_ns));
            point.packed_fixed64(6, counts.iter().copied());
            if let Buckets::Explicit { bounds_ns } = buckets {
                let bounds = bounds_ns.iter().map(|bound| seconds((*bound).into()).to_bits());
                point.packed_fixed64(7, bounds);
            }
        }
    }
}
