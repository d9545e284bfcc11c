//! Metrics, declared once beside the code that moves them.
//!
//! [`metric_set!`](crate::metric_set) makes a struct of handles over the `metrics` crate. Handles are resolved when
//! a component is built; counting is an atomic add per batch.

/// What a metric is, for the documentation and for the exporter's help texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descriptor {
    /// Name as the Collector gives it.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// UCUM unit, or a noun in braces.
    pub unit: &'static str,
    /// Label names, in order.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
    /// Whether its series leave the page some time after their last holder; see
    /// [`expiring`](super::expiring).
    pub expires: bool,
}

/// A metric's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets; the bounds are those of [`Descriptor::name`] in `telemetry::bounds`.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Declares a struct of metric handles.
///
/// ```
/// shared::metric_set! {
///     /// What a door counts.
///     pub struct DoorMetrics ["door"];
///     /// Number of people who came in.
///     entered: Counter = "door_entered", "{person}";
/// }
/// let metrics = DoorMetrics::new(&[("door", "front")]);
/// metrics.entered.increment(1);
/// assert_eq!(DoorMetrics::DESCRIPTORS[0].help, "Number of people who came in.");
/// ```
///
/// `new` takes a value for each label of the set, in any order. A series exists from the moment
/// its handle was made, for as long as the process lives.
///
/// With `expiring` before the labels, it lives only for as long as somebody holds a handle, and a
/// [little longer](crate::telemetry::expiring::GRACE): for labels whose values come and go, such as the
/// endpoints of backends. Such a set knows one more kind, the [`Age`](crate::telemetry::expiring::Age)
/// of something.
///
/// ```
/// shared::metric_set! {
///     /// What is counted of a guest.
///     pub struct GuestMetrics expiring ["name"];
///     /// Number of glasses drunk.
///     glasses: Counter = "guest_glasses", "{glass}";
///     /// Time since the first glass that is still to be paid.
///     unpaid: Age = "guest_oldest_unpaid_glass_age", "s";
/// }
/// let metrics = GuestMetrics::new(&[("name", "Ann")]);
/// metrics.glasses.increment(1);
/// metrics.unpaid.since(shared::clock::now());
/// ```
#[macro_export]
macro_rules! metric_set {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $set:ident expiring $labels:tt;
        $( $(#[doc = $help:literal])+ $field:ident : $kind:ident = $name:literal, $unit:literal; )+
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone)]
        $vis struct $set {
            $( $(#[doc = $help])+ pub $field: $crate::telemetry::expiring::$kind, )+
        }

        impl $set {
            /// The metrics of this set.
            $vis const DESCRIPTORS: &'static [$crate::telemetry::metrics::Descriptor] = &[
                $( $crate::telemetry::metrics::Descriptor {
                    name: $name,
                    kind: <$crate::telemetry::expiring::$kind
                        as $crate::telemetry::expiring::Handle>::KIND,
                    unit: $unit,
                    labels: &$labels,
                    help: $crate::telemetry::metrics::trimmed(concat!($($help),+)),
                    expires: true,
                }, )+
            ];

            /// Makes series with these label values, which live until the last clone is dropped.
            $vis fn new(labels: &[(&'static str, &str)]) -> Self {
                let mut member = $crate::telemetry::expiring::Member::default();
                let set = Self { $( $field: member.handle($name), )+ };
                member.register(Self::DESCRIPTORS, labels);
                set
            }
        }
    };
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $set:ident $labels:tt;
        $( $(#[doc = $help:literal])+ $field:ident : $kind:ident = $name:literal, $unit:literal; )+
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone)]
        $vis struct $set {
            $( $(#[doc = $help])+ pub $field: $crate::metrics::$kind, )+
        }

        impl $set {
            /// The metrics of this set.
            $vis const DESCRIPTORS: &'static [$crate::telemetry::metrics::Descriptor] = &[
                $( $crate::telemetry::metrics::Descriptor {
                    name: $name,
                    kind: $crate::telemetry::metrics::Kind::$kind,
                    unit: $unit,
                    labels: &$labels,
                    help: $crate::telemetry::metrics::trimmed(concat!($($help),+)),
                    expires: false,
                }, )+
            ];

            /// Resolves the handles for these label values.
            $vis fn new(labels: &[(&'static str, &str)]) -> Self {
                const NAMES: &[&str] = &$labels;
                debug_assert!(labels.iter().all(|(label, _)| NAMES.contains(label)));
                Self {
                    $( $field: <$crate::metrics::$kind as $crate::telemetry::metrics::Handle>
                        ::resolve($name, labels), )+
                }
            }
        }
    };
}

/// A doc comment's text without the space after `///`.
pub const fn trimmed(text: &'static str) -> &'static str {
    match text.as_bytes() {
        [b' ', ..] => text.split_at(1).1,
        _ => text,
    }
}

/// A kind of metric handle.
pub trait Handle {
    /// The handle of the series `name` with these labels, from the recorder that is installed.
    fn resolve(name: &'static str, labels: &[(&'static str, &str)]) -> Self;
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> metrics::Key {
    let labels: Vec<metrics::Label> = labels
        .iter()
        .map(|(name, value)| metrics::Label::new(*name, (*value).to_owned()))
        .collect();
    metrics::Key::from_parts(name, labels)
}

const METADATA: metrics::Metadata<'static> =
    metrics::Metadata::new(module_path!(), metrics::Level::INFO, None);

impl Handle for metrics::Counter {
    fn resolve(name: &'static str, labels: &[(&'static str, &str)]) -> Self {
        metrics::with_recorder(|recorder| recorder.register_counter(&key(name, labels), &METADATA))
    }
}

impl Handle for metrics::Gauge {
    fn resolve(name: &'static str, labels: &[(&'static str, &str)]) -> Self {
        metrics::with_recorder(|recorder| recorder.register_gauge(&key(name, labels), &METADATA))
    }
}

impl Handle for metrics::Histogram {
    fn resolve(name: &'static str, labels: &[(&'static str, &str)]) -> Self {
        metrics::with_recorder(|recorder| {
            recorder.register_histogram(&key(name, labels), &METADATA)
        })
    }
}
