//! Cuts metrics by their data points.
//!
//! A metric whose points go to several groups is repeated for each of them, with all its own
//! fields and those of the message that holds the points (temporality, whether it is monotonic,
//! unknown ones), but with the group's points only. A metric without points is left out.
//!
//! Of a metric that holds data of several kinds, which no encoder writes, only the last kind is
//! kept, as a decoder has it; of several messages of that kind one is made.

use super::super::field::{Field, Value};
use super::super::metric::{DataKind, Metric};
use super::groups::{NESTED_TAG, Output, length_delimited_len, put_length_delimited};
use super::{Cut, Grouping, Noted, Part, Plan, pieces_in};

/// Cuts a metrics request by a group number of each data point; groups without a point are left
/// out. [`Part::records`] is a part's number of points.
pub fn regroup_points<'a>(request: &'a [u8], grouping: &mut impl Grouping<'a>) -> Vec<Part<usize>> {
    Plan::<Points>::new(request, pieces_in(request), grouping).write().collect()
}

/// Cuts metrics by their points.
#[derive(Default)]
pub(crate) struct Points {
    /// Length of the current metric's points for each group; 0 if it has none.
    lengths: Vec<usize>,
    /// The groups that have points of the current metric.
    in_metric: Vec<usize>,
}

impl Points {
    /// Adds up the points of each group.
    fn add_up<'a>(&mut self, metric: &Metric<'a>, grouping: &mut impl Grouping<'a>) {
        self.in_metric.clear();
        for field in metric.data_fields() {
            let Some(point) = point(field) else { continue };
            let group = grouping.group(point);
            if group >= self.lengths.len() {
                self.lengths.resize(group + 1, 0);
            }
            if self.lengths[group] == 0 {
                self.in_metric.push(group);
            }
            self.lengths[group] += field.raw.len();
        }
    }
}

impl Cut for Points {
    fn measure<'a>(
        &mut self,
        record: Field<'a>,
        grouping: &mut impl Grouping<'a>,
        mut gets: impl FnMut(usize, usize),
    ) {
        let metric = Metric::read(record.value.bytes().unwrap_or_default());
        grouping.enter_metric(&metric);
        self.add_up(&metric, grouping);
        if self.in_metric.is_empty() {
            return;
        }
        let header = Header::of(&metric);
        for group in &self.in_metric {
            let data_len = header.data_len + std::mem::take(&mut self.lengths[*group]);
            gets(*group, length_delimited_len(header.metric_len(data_len)));
        }
    }

    fn write(&mut self, record: Field<'_>, noted: &mut Noted<'_>, outputs: &mut [Output]) {
        let metric = Metric::read(record.value.bytes().unwrap_or_default());
        let Some(kind) = metric.kind else { return };
        self.add_up(&metric, &mut noted.clone());
        let header = Header::of(&metric);
        for group in &self.in_metric {
            let data_len = header.data_len + std::mem::take(&mut self.lengths[*group]);
            let request = &mut outputs[*group].request;
            put_length_delimited(NESTED_TAG, header.metric_len(data_len), request);
            metric.header_fields().for_each(|field| request.extend_from_slice(field.raw));
            put_length_delimited(data_tag(kind), data_len, request);
            let fields = metric.data_fields().filter(|field| point(*field).is_none());
            fields.for_each(|field| request.extend_from_slice(field.raw));
        }
        for field in metric.data_fields().filter(|field| point(*field).is_some()) {
            let output = &mut outputs[noted.group(&[])];
            output.request.extend_from_slice(field.raw);
            output.pieces += 1;
        }
    }
}

/// Lengths of what every group gets of a metric.
struct Header {
    /// Of the metric's fields but for its data.
    metric_fields_len: usize,
    /// Of the data's fields but for its points.
    data_len: usize,
}

impl Header {
    fn of(metric: &Metric<'_>) -> Self {
        let points = |field: &Field<'_>| point(*field).is_none();
        Self {
            metric_fields_len: metric.header_fields().map(|field| field.raw.len()).sum(),
            data_len: metric.data_fields().filter(points).map(|field| field.raw.len()).sum(),
        }
    }

    /// Length of a metric whose data has this length.
    fn metric_len(&self, data_len: usize) -> usize {
        self.metric_fields_len + length_delimited_len(data_len)
    }
}

/// The content of a data point, if a field of a metric's data is one.
fn point(field: Field<'_>) -> Option<&[u8]> {
    match (field.number, field.value) {
        (1, Value::Bytes(point)) => Some(point),
        _ => None,
    }
}

/// The tag of a metric's field that holds this kind of data, length-delimited.
#[allow(clippy::cast_possible_truncation, reason = "the fields are numbered 5 to 11")]
fn data_tag(kind: DataKind) -> u8 {
    (kind.field() << 3 | 2) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Fields, Temporality, Writer, count, resources};
    use crate::{Signal, wire::check};

    /// Groups by the first byte of a point's first attribute key.
    struct ByKey;

    impl<'a> Grouping<'a> for ByKey {
        fn group(&mut self, point: &'a [u8]) -> usize {
            let (key, _) = crate::wire::Attributes::new(point, 7).next().unwrap();
            usize::from(key[0] - b'a')
        }
    }

    /// A metric in one scope, written by `fill`.
    fn request(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(1, |resource| resource.string_attribute(1, b"k", b"v"));
            entry.message(2, |scope| {
                scope.message(1, |scope| scope.bytes(1, b"lib"));
                scope.message(2, fill);
            });
        });
        writer.into_vec()
    }

    fn points(data: &mut Writer, keys: &[u8]) {
        for key in keys {
            data.message(1, |point| {
                point.fixed64(3, 7);
                point.string_attribute(7, &[*key], b"");
            });
        }
    }

    /// The only metric of each part, and the keys of its points.
    #[track_caller]
    fn check_parts(request: &[u8], expected: &[(usize, &[u8])], look: impl Fn(&Metric<'_>)) {
        let parts = regroup_points(request, &mut ByKey);
        let mut found = Vec::new();
        for part in &parts {
            assert_eq!(part.request.len(), part.request.capacity());
            assert_eq!(check(Signal::Metrics, &part.request).unwrap().items, part.records);
            let entry = resources(&part.request).next().unwrap();
            assert!(entry.resource().attribute(b"k").is_some());
            let scope = entry.scopes().next().unwrap();
            assert_eq!(scope.name(), b"lib");
            let metric = Metric::read(scope.records().next().unwrap());
            look(&metric);
            let keys = metric
                .points()
                .map(|point| crate::wire::Attributes::new(point, 7).next().unwrap().0[0]);
            found.push((part.key, keys.collect::<Vec<u8>>()));
        }
        let expected: Vec<_> = expected.iter().map(|(key, keys)| (*key, keys.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_metric_is_repeated_for_each_group_with_its_points_only() {
        let request = request(|metric| {
            metric.varint(99, 5);
            metric.message(7, |sum| {
                sum.varint(2, 2);
                points(sum, b"abcab");
                sum.varint(3, 1);
                sum.varint(98, 6);
            });
            metric.bytes(1, b"requests");
            metric.bytes(3, b"{request}");
        });
        check_parts(&request, &[(0, b"aa"), (1, b"bb"), (2, b"c")], |metric| {
            assert_eq!((metric.name, metric.unit), (&b"requests"[..], &b"{request}"[..]));
            assert_eq!((metric.temporality, metric.monotonic), (Temporality::Cumulative, true));
            assert!(Fields::new(metric.raw).any(|field| field.number == 99));
            assert!(metric.data_fields().any(|field| field.number == 98));
        });
    }

    #[test]
    fn data_in_several_messages_is_merged_and_an_earlier_kind_is_dropped() {
        let request = request(|metric| {
            metric.message(5, |gauge| points(gauge, b"zz"));
            metric.message(7, |sum| points(sum, b"a"));
            metric.bytes(1, b"requests");
            metric.message(7, |sum| {
                points(sum, b"ba");
                sum.varint(2, 1);
            });
        });
        check_parts(&request, &[(0, b"aa"), (1, b"b")], |metric| {
            assert_eq!((metric.name, metric.kind), (&b"requests"[..], Some(DataKind::Sum)));
            assert_eq!(metric.temporality, Temporality::Delta);
            assert!(!Fields::new(metric.raw).any(|field| field.number == 5));
        });
    }

    #[test]
    fn a_metric_without_points_is_left_out() {
        let request = request(|metric| metric.bytes(1, b"empty"));
        assert_eq!(
            (regroup_points(&request, &mut ByKey), count(Signal::Metrics, &request)),
            (vec![], 0)
        );
    }
}
