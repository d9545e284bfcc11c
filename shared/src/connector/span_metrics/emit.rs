//! Writes series as OTLP metrics.

use crate::wire::{Temporality, Writer};
use crate::{Batch, Signal};

use super::config::Unit;
use super::key::write_attributes;
use super::series::{Resource, Series, Table};
use super::settings::{Family, Measure, MetricSettings, Settings};

/// Where a request is cut. Receivers commonly refuse messages above 4 MiB.
const REQUEST_BYTES: usize = 1 << 20;

/// The scope's name that the Collector writes; dashboards may select by it.
const SCOPE: &[u8] = b"spanmetricsconnector";

/// Writes resources into requests of about [`REQUEST_BYTES`].
pub(crate) struct Emitter<'s> {
    settings: &'s Settings,
    /// Start of deltas.
    flushed_ns: u64,
    now_ns: u64,
    request: Writer,
    points: usize,
    batches: Vec<Batch>,
}

impl<'s> Emitter<'s> {
    pub(crate) fn new(settings: &'s Settings, flushed_ns: u64, now_ns: u64) -> Self {
        let request = Writer::new();
        Self { settings, flushed_ns, now_ns, request, points: 0, batches: Vec::new() }
    }

    /// Writes all series of `resource`, over several requests if they are many.
    pub(crate) fn resource(&mut self, resource: &Resource) {
        let settings = self.settings;
        let mut pending: Vec<_> = settings
            .metrics
            .iter()
            .map(|metric| (metric, all_series(&resource.tables[metric.family]).peekable()))
            .collect();
        while pending.iter_mut().any(|(_, series)| series.peek().is_some()) {
            let mut request = std::mem::take(&mut self.request);
            request.message(1, |entry| {
                entry.bytes(1, &resource.message);
                entry.message(2, |scope| {
                    scope.message(1, |scope| scope.bytes(1, SCOPE));
                    for (metric, series) in &mut pending {
                        if series.peek().is_some() && scope.len() < REQUEST_BYTES {
                            scope.message(2, |record| {
                                self.metric(record, metric, resource, series);
                            });
                        }
                    }
                });
            });
            self.request = request;
            if self.request.len() >= REQUEST_BYTES {
                self.cut();
            }
        }
    }

    /// All requests.
    pub(crate) fn finish(mut self) -> Vec<Batch> {
        self.cut();
        self.batches
    }

    fn cut(&mut self) {
        if self.points == 0 {
            return;
        }
        let bytes = std::mem::take(&mut self.request).into_vec().into();
        let points = std::mem::take(&mut self.points);
        self.batches.push(Batch::empty(Signal::Metrics).part(bytes, points));
    }

    /// Writes a `Metric` with as many of `series` as find room.
    fn metric<'a>(
        &mut self,
        record: &mut Writer,
        metric: &MetricSettings,
        resource: &Resource,
        series: &mut impl Iterator<Item = &'a Series>,
    ) {
        let family = &self.settings.families[metric.family];
        record.bytes(1, metric.name.as_bytes());
        record.bytes(2, metric.measure.description().as_bytes());
        let number = match metric.measure {
            Measure::Calls => 7,
            Measure::Duration => {
                record.bytes(3, self.settings.unit.name().as_bytes());
                9
            }
        };
        record.message(number, |content| {
            while content.len() < REQUEST_BYTES
                && let Some(series) = series.next()
            {
                content.message(1, |point| match metric.measure {
                    Measure::Calls => self.number_point(point, resource, family, series),
                    Measure::Duration => self.histogram_point(point, resource, family, series),
                });
                self.points += 1;
            }
            content.varint(2, self.settings.temporality.number());
            if metric.measure == Measure::Calls {
                content.varint(3, 1); // is_monotonic
            }
        });
    }

    fn number_point(
        &self,
        point: &mut Writer,
        resource: &Resource,
        family: &Family,
        series: &Series,
    ) {
        self.times(point, series);
        point.fixed64(6, series.count);
        self.attributes(point, 7, resource, family, series);
    }

    fn histogram_point(
        &self,
        point: &mut Writer,
        resource: &Resource,
        family: &Family,
        series: &Series,
    ) {
        let nanos_per_unit = nanos_per_unit(self.settings.unit);
        self.times(point, series);
        point.fixed64(4, series.count);
        point.double(5, in_unit(series.sum_ns, nanos_per_unit));
        point.packed_fixed64(6, series.buckets.iter().copied());
        let bounds = self.settings.bounds_ns.iter();
        let bounds = bounds.map(|bound| in_unit(u128::from(*bound), nanos_per_unit).to_bits());
        point.packed_fixed64(7, bounds);
        self.attributes(point, 9, resource, family, series);
    }

    fn times(&self, point: &mut Writer, series: &Series) {
        let start_ns = match self.settings.temporality {
            Temporality::Delta => self.flushed_ns,
            _ => series.start_ns,
        };
        point.fixed64(2, start_ns);
        // Clocks may step back.
        point.fixed64(3, self.now_ns.max(start_ns));
    }

    fn attributes(
        &self,
        point: &mut Writer,
        number: u32,
        resource: &Resource,
        family: &Family,
        series: &Series,
    ) {
        let (settings, service) = (self.settings, &resource.service);
        write_attributes(settings, family, service, &series.key, point, number);
    }
}

fn all_series(table: &Table) -> impl Iterator<Item = &Series> {
    table.series.iter().chain(&table.overflow)
}

fn nanos_per_unit(unit: Unit) -> f64 {
    match unit {
        Unit::Milliseconds => 1e6,
        Unit::Seconds => 1e9,
    }
}

#[allow(clippy::cast_precision_loss, reason = "OTLP has doubles here")]
fn in_unit(nanos: u128, nanos_per_unit: f64) -> f64 {
    nanos as f64 / nanos_per_unit
}
