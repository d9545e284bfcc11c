//! Writes series as OTLP metrics, in requests of about a mebibyte.

use crate::exponential_histogram::ExponentialHistogram;
use crate::wire::{DataKind, Temporality, Writer};
use crate::{Batch, Signal};

use super::key::write_attributes;
use super::series::{Resource, Series};
use super::settings::{Family, MetricSettings, Settings, Shape};
use super::units::in_unit;

/// Where a request is cut. Receivers commonly refuse messages above 4 MiB.
const REQUEST_BYTES: usize = 1 << 20;

/// The scope's name that the Collector writes; dashboards may select by it.
const SCOPE: &[u8] = b"spanmetricsconnector";

/// The flag of a point that says that its series ended.
const NO_RECORDED_VALUE: u64 = 1;

/// What a data point says of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// That it began with 0.
    Zero,
    /// Its value.
    Value,
    /// That it ended.
    End,
}

/// Writes resources into requests.
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

    /// Writes points of a resource, over several requests if they are many. `lists` has one for
    /// each family.
    pub(crate) fn resource(&mut self, resource: &Resource, lists: &[Vec<(Point, &Series)>]) {
        let settings = self.settings;
        let mut pending: Vec<_> = settings
            .metrics
            .iter()
            .map(|metric| (metric, lists[metric.family].iter().copied().peekable()))
            .collect();
        while pending.iter_mut().any(|(_, points)| points.peek().is_some()) {
            let mut request = std::mem::take(&mut self.request);
            request.message(1, |entry| {
                entry.bytes(1, &resource.message);
                entry.message(2, |scope| {
                    scope.message(1, |scope| scope.bytes(1, SCOPE));
                    for (metric, points) in &mut pending {
                        if points.peek().is_some() && scope.len() < REQUEST_BYTES {
                            scope.message(2, |record| {
                                self.metric(record, metric, resource, points);
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

    /// Writes a `Metric` with as many of `points` as find room.
    fn metric<'a>(
        &mut self,
        record: &mut Writer,
        metric: &MetricSettings,
        resource: &Resource,
        points: &mut impl Iterator<Item = (Point, &'a Series)>,
    ) {
        let family = &self.settings.families[metric.family];
        record.bytes(1, metric.name.as_bytes());
        record.bytes(2, metric.measure.description().as_bytes());
        if metric.measure.is_histogram() {
            record.bytes(3, self.settings.unit.name().as_bytes());
        }
        let kind = match (metric.measure.is_histogram(), family.shape) {
            (false, _) => DataKind::Sum,
            (true, Shape::Exponential { .. }) => DataKind::ExponentialHistogram,
            (true, _) => DataKind::Histogram,
        };
        record.message(kind.field(), |content| {
            while content.len() < REQUEST_BYTES
                && let Some((point, series)) = points.next()
            {
                content.message(1, |message| {
                    self.times(message, point, series);
                    match (kind, family.shape) {
                        (DataKind::Sum, _) => self.number(message, point, series),
                        (_, Shape::Exponential { max_size }) => {
                            self.exponential(message, point, max_size, series);
                        }
                        _ => self.histogram(message, point, family, series),
                    }
                    let key = series.body.key();
                    let (settings, service) = (self.settings, &resource.service);
                    let number = kind.attributes_field();
                    write_attributes(settings, family, service, key, message, number);
                });
                self.points += 1;
            }
            content.varint(2, self.settings.temporality.number());
            if kind == DataKind::Sum {
                content.varint(3, 1); // is_monotonic
            }
        });
    }

    /// The fields of a `NumberDataPoint` but its times and attributes.
    fn number(&self, message: &mut Writer, point: Point, series: &Series) {
        match point {
            Point::Zero => message.fixed64(6, 0),
            Point::Value => {
                message.fixed64(6, series.count());
                self.exemplars(message, 5, series);
            }
            Point::End => message.varint(8, NO_RECORDED_VALUE),
        }
    }

    /// The fields of a `HistogramDataPoint` but its times and attributes.
    fn histogram(&self, message: &mut Writer, point: Point, family: &Family, series: &Series) {
        let unit = self.settings.unit;
        match point {
            Point::Zero => {
                message.fixed64(4, 0);
                message.double(5, 0.0);
                message.packed_fixed64(6, (0..family.slots).map(|_| 0));
            }
            Point::Value => {
                message.fixed64(4, series.count());
                message.double(5, in_unit(series.sum_ns(), unit));
                message.packed_fixed64(6, series.body.counts());
                self.exemplars(message, 8, series);
            }
            // With its buckets, so that receivers which make a series of each end them all.
            Point::End => {
                message.packed_fixed64(6, (0..family.slots).map(|_| 0));
                message.varint(10, NO_RECORDED_VALUE);
            }
        }
        let bounds = self.settings.bounds_ns.iter();
        let bounds = bounds.map(|bound| in_unit(u128::from(*bound), unit).to_bits());
        message.packed_fixed64(7, bounds);
    }

    /// The fields of an `ExponentialHistogramDataPoint` but its times and attributes.
    fn exponential(&self, message: &mut Writer, point: Point, max_size: i32, series: &Series) {
        match (point, series.exponential()) {
            (Point::Zero, _) => ExponentialHistogram::new(max_size).write(message),
            (Point::Value, Some(histogram)) => {
                histogram.write(message);
                self.exemplars(message, 11, series);
            }
            (Point::End, _) => message.varint(10, NO_RECORDED_VALUE),
            (Point::Value, None) => unreachable!("all series of such a family have one"),
        }
    }

    fn exemplars(&self, message: &mut Writer, number: u32, series: &Series) {
        for exemplar in series.exemplars() {
            message.message(number, |message| exemplar.write(message, self.settings.unit));
        }
    }

    /// The fields 2 and 3, which they are in points of all kinds.
    fn times(&self, message: &mut Writer, point: Point, series: &Series) {
        let start_ns = match self.settings.temporality {
            Temporality::Delta => self.flushed_ns,
            _ => series.start_ns,
        };
        message.fixed64(2, start_ns);
        match point {
            Point::Zero => message.fixed64(3, start_ns),
            // Clocks may step back.
            Point::Value | Point::End => message.fixed64(3, self.now_ns.max(start_ns)),
        }
    }
}
