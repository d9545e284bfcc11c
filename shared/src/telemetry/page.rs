//! The page of metrics: what the recorder renders, in a stable order, and what it cannot render.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use metrics::Recorder;
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::config::PrometheusConfig;
use super::metrics::{Descriptor, Kind};
use super::{cgroup, process};

/// Whether names carry their unit and `_total`. As in the Collector, either switch brings both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    Plain,
    Suffixed,
}

impl Naming {
    pub(super) fn of(page: &PrometheusConfig) -> Self {
        match page.without_units && page.without_type_suffix {
            true => Naming::Plain,
            false => Naming::Suffixed,
        }
    }

    /// The name that a metric is shown under.
    fn name(self, metric: &Descriptor) -> String {
        let mut name = metric.name.to_owned();
        if self == Naming::Suffixed {
            if let Some(unit) = unit(metric.unit).filter(|unit| !name.ends_with(unit)) {
                name = format!("{name}_{unit}");
            }
            if metric.kind == Kind::Counter {
                name.push_str("_total");
            }
        }
        name
    }

    /// The names that are not shown as they are.
    pub(super) fn renamed(
        self,
        descriptors: &[&'static [Descriptor]],
    ) -> BTreeMap<&'static str, String> {
        let all = OWN.iter().chain(descriptors).flat_map(|set| set.iter());
        all.map(|metric| (metric.name, self.name(metric)))
            .filter(|(plain, shown)| plain != shown)
            .collect()
    }
}

/// Renders everything that the process measures.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) handle: PrometheusHandle,
    pub(super) naming: Naming,
    /// What [`Naming::renamed`] says.
    pub(super) renamed: BTreeMap<&'static str, String>,
    /// Attributes of the process, as labels.
    pub(super) target: Vec<(String, String)>,
    /// Labels of every series.
    pub(super) constant: Vec<(String, String)>,
    pub(super) started: Instant,
}

impl Page {
    /// The page in Prometheus' text format, version 0.0.4.
    pub(super) fn render(&self) -> String {
        process::observe();
        cgroup::observe();
        let rendered = self.handle.render();
        let mut families: Vec<String> = rendered
            .split("\n\n")
            .map(str::trim_end)
            .filter(|family| !family.is_empty())
            .map(|family| self.rename(family))
            .collect();
        let values = process::uptime_and_cpu_seconds(self.started, crate::clock::now());
        for (descriptor, value) in process::SECONDS.iter().zip(values) {
            families.extend(value.map(|value| self.counter(descriptor, value)));
        }
        families.push(self.target_info());
        families.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        families.join("\n") + "\n"
    }

    /// The family under the name that it is shown under. Every line of it begins with the plain
    /// one, but for `# HELP` and `# TYPE`.
    fn rename(&self, family: &str) -> String {
        let plain = name_of(family);
        let Some(shown) = self.renamed.get(plain) else { return family.to_owned() };
        let lines = family.lines().map(|line| line.replacen(plain, shown, 1));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn counter(&self, descriptor: &Descriptor, value: f64) -> String {
        let name = self.naming.name(descriptor);
        let (help, labels) = (descriptor.help, braced(&self.constant));
        format!("# HELP {name} {help}\n# TYPE {name} counter\n{name}{labels} {value}")
    }

    fn target_info(&self) -> String {
        let labels = braced(&self.target);
        format!(
            "# HELP target_info Target metadata\n# TYPE target_info gauge\ntarget_info{labels} 1"
        )
    }
}

/// The name of a family: the word behind `# HELP` or `# TYPE`.
fn name_of(family: &str) -> &str {
    family.split(' ').nth(2).unwrap_or_default()
}

fn braced(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let mut text = String::from("{");
    for (index, (name, value)) in labels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(text, "{comma}{name}=\"{value}\"").expect("writing to a string does not fail");
    }
    text.push('}');
    text
}

/// An attribute's name as a label: only letters, digits and underscores.
pub(super) fn label_name(attribute: &str) -> String {
    let mut name: String = attribute
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// The metrics of the process itself.
pub const OWN: &[&[Descriptor]] = &[
    process::ProcessMetrics::DESCRIPTORS,
    process::SECONDS,
    cgroup::CgroupMetrics::DESCRIPTORS,
    cgroup::CgroupLimitMetrics::DESCRIPTORS,
];

/// A recorder that knows the help, the unit and the buckets of each of `descriptors` and of
/// [`OWN`].
pub(super) fn recorder(
    constant: &[(String, String)],
    descriptors: &[&'static [Descriptor]],
) -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new()
        .set_buckets(DEFAULT_BOUNDS)
        .expect("the default bounds are not empty");
    for (name, value) in constant {
        builder = builder.add_global_label(name, value);
    }
    let all = || OWN.iter().chain(descriptors).flat_map(|set| set.iter());
    for descriptor in all().filter(|descriptor| descriptor.kind == Kind::Histogram) {
        builder = builder
            .set_buckets_for_metric(
                Matcher::Full(descriptor.name.to_owned()),
                bounds(descriptor.name),
            )
            .expect("no list of bounds is empty");
    }
    let recorder = builder.build_recorder();
    for descriptor in all() {
        let (name, help) = (descriptor.name.into(), descriptor.help.into());
        match descriptor.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        }
    }
    recorder
}

/// The unit as it becomes part of a name; nouns in braces never do.
fn unit(ucum: &str) -> Option<&'static str> {
    Some(match ucum {
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" | "µs" | "μs" => "microseconds",
        "By" => "bytes",
        _ => return None,
    })
}

/// The OpenTelemetry SDK's default.
const DEFAULT_BOUNDS: &[f64] =
    &[0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2.5e3, 5e3, 7.5e3, 1e4];

/// Batch sizes in items. Source: collector exporter/exporterhelper/metadata.yaml.
const COUNT_BOUNDS: &[f64] = &[
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2e3, 3e3, 4e3, 5e3, 6e3, 7e3, 8e3,
    9e3, 1e4, 2e4, 3e4, 5e4, 1e5,
];

/// Batch sizes in bytes: 128 · 2^k. Source: collector exporter/exporterhelper/metadata.yaml.
const BYTE_BOUNDS: &[f64] = &[
    128.0,
    256.0,
    512.0,
    1024.0,
    2048.0,
    4096.0,
    8192.0,
    16384.0,
    32768.0,
    65536.0,
    131_072.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    16_777_216.0,
];

/// Source: contrib exporter/loadbalancingexporter/metadata.yaml.
const BACKEND_LATENCY_BOUNDS: &[f64] = &[5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3];

/// Source: contrib processor/tailsamplingprocessor/metadata.yaml.
const DECISION_LATENCY_BOUNDS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 750.0, 1e3,
    2e3, 3e3, 4e3, 5e3, 1e4, 2e4, 3e4, 5e4,
];

/// Durations of requests in seconds. Source: OpenTelemetry semantic conventions.
const SECONDS_BOUNDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Upper bounds of a histogram's buckets.
pub(super) fn bounds(name: &str) -> &'static [f64] {
    match name {
        "otelcol_loadbalancer_backend_latency" => BACKEND_LATENCY_BOUNDS,
        "otelcol_processor_tail_sampling_sampling_decision_timer_latency" => {
            DECISION_LATENCY_BOUNDS
        }
        "otelcol_processor_batch_batch_send_size"
        | "otelcol_exporter_queue_batch_send_size"
        | "otelcol_exporter_enqueue_size" => COUNT_BOUNDS,
        name if name.ends_with("_bytes") => BYTE_BOUNDS,
        name if name.ends_with("_duration") || name.ends_with("_seconds") => SECONDS_BOUNDS,
        _ => DEFAULT_BOUNDS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric_set;

    metric_set! {
        /// What a door counts.
        struct DoorMetrics ["door"];
        /// Number of people who came in.
        entered: Counter = "door_entered", "{person}";
        /// Time the door stood open.
        open: Counter = "door_open", "s";
        /// Sum of the times it stood open.
        open_sum: Counter = "door_open_sum", "us";
        /// Size of what went through.
        size: Histogram = "door_size_bytes", "By";
    }

    fn page(naming: Naming, constant: &[(&str, &str)]) -> String {
        let constant: Vec<_> = constant
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let recorder = recorder(&constant, &[DoorMetrics::DESCRIPTORS]);
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let metrics = DoorMetrics::new(&[("door", "front")]);
            metrics.entered.increment(3);
            metrics.open.increment(1);
            metrics.open_sum.increment(1);
            metrics.size.record(200.0);
            let target = vec![("service_name".to_owned(), "a\"b".to_owned())];
            let renamed = naming.renamed(&[DoorMetrics::DESCRIPTORS]);
            let started = crate::clock::now();
            Page { handle, naming, renamed, target, constant, started }.render()
        })
    }

    #[track_caller]
    fn has(page: &str, line: &str) {
        assert!(page.lines().any(|other| other == line), "{line:?} is not in:\n{page}");
    }

    #[test]
    fn names_are_plain_by_default() {
        let page = page(Naming::Plain, &[]);
        has(&page, "# HELP door_entered Number of people who came in.");
        has(&page, "# TYPE door_entered counter");
        has(&page, "door_entered{door=\"front\"} 3");
        has(&page, "door_open{door=\"front\"} 1");
        has(&page, "door_size_bytes_bucket{door=\"front\",le=\"128\"} 0");
        has(&page, "door_size_bytes_bucket{door=\"front\",le=\"256\"} 1");
        has(&page, "# TYPE otelcol_process_cpu_seconds counter");
        has(&page, "target_info{service_name=\"a\\\"b\"} 1");
    }

    #[test]
    fn either_switch_brings_units_and_types() {
        for (without_units, without_type_suffix) in [(false, true), (true, false), (false, false)] {
            let config = PrometheusConfig {
                without_units,
                without_type_suffix,
                ..PrometheusConfig::default()
            };
            assert_eq!(Naming::of(&config), Naming::Suffixed);
        }
        let page = page(Naming::Suffixed, &[]);
        has(&page, "door_entered_total{door=\"front\"} 3");
        has(&page, "door_open_seconds_total{door=\"front\"} 1");
        has(&page, "# TYPE door_open_sum_microseconds_total counter");
        has(&page, "door_open_sum_microseconds_total{door=\"front\"} 1");
        has(&page, "door_size_bytes_count{door=\"front\"} 1");
        has(&page, "# TYPE otelcol_process_uptime_seconds_total counter");
        has(&page, "# TYPE otelcol_process_cpu_seconds_total counter");
        has(&page, "# TYPE otelcol_process_memory_rss_bytes gauge");
    }

    #[test]
    fn constant_labels_are_on_every_series() {
        let page = page(Naming::Plain, &[("service_name", "edge")]);
        has(&page, "door_entered{service_name=\"edge\",door=\"front\"} 3");
        let uptime = "otelcol_process_uptime{service_name=\"edge\"} ";
        assert!(page.lines().any(|line| line.starts_with(uptime)), "{page}");
    }

    #[test]
    fn families_are_in_order_and_have_no_gaps() {
        let page = page(Naming::Plain, &[]);
        let names: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(!page.contains("\n\n") && page.ends_with('\n'));
    }
}
