//! The page of metrics: what the recorder renders, in a stable order, and what it cannot render.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::time::Instant;

use metrics::Recorder;
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::bounds::{DEFAULT_BOUNDS, bounds};
use super::config::PrometheusConfig;
use super::expiring::{self, Family, HistogramValue, Value};
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
        let now = crate::clock::now();
        let values = process::uptime_and_cpu_seconds(self.started, now);
        for (descriptor, value) in process::SECONDS.iter().zip(values) {
            families.extend(value.map(|value| self.counter(descriptor, &value.to_string())));
        }
        families.push(self.target_info());
        let expiring = expiring::snapshot(now);
        let dropped = expiring.dropped_series.to_string();
        families.push(self.counter(&expiring::DROPPED[0], &dropped));
        for family in &expiring.families {
            add(&mut families, &self.naming.name(&family.descriptor), &self.constant, family);
        }
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

    fn counter(&self, descriptor: &Descriptor, value: &str) -> String {
        let name = self.naming.name(descriptor);
        let (head, labels) = (head(&name, descriptor), braced(&self.constant));
        format!("{head}\n{name}{labels} {value}")
    }

    fn target_info(&self) -> String {
        let labels = braced(&self.target);
        format!(
            "# HELP target_info Target metadata\n# TYPE target_info gauge\ntarget_info{labels} 1"
        )
    }
}

/// Families whose series expire, alone and under their plain names.
pub(super) fn plain(expiring: &[Family]) -> String {
    let mut families = Vec::new();
    for family in expiring {
        add(&mut families, family.descriptor.name, &[], family);
    }
    families.join("\n") + "\n"
}

/// Adds a family whose series expire; to the recorder's of that name, if it has one.
fn add(families: &mut Vec<String>, name: &str, constant: &[(String, String)], family: &Family) {
    let place = families.iter().position(|other| name_of(other) == name);
    let place = place.unwrap_or_else(|| {
        families.push(head(name, &family.descriptor));
        families.len() - 1
    });
    let text = &mut families[place];
    for (labels, value) in &family.series {
        let labels: Vec<_> = constant.iter().chain(labels).cloned().collect();
        match value {
            Value::Counter(count) => put(text, name, &labels, count),
            Value::Gauge(value) | Value::Age(value) => put(text, name, &labels, value),
            Value::Histogram(value) => put_histogram(text, name, labels, value),
        }
    }
}

fn head(name: &str, descriptor: &Descriptor) -> String {
    let help = descriptor.help.replace('\\', "\\\\").replace('\n', "\\n");
    format!("# HELP {name} {help}\n# TYPE {name} {}", descriptor.kind.name())
}

fn put(text: &mut String, name: &str, labels: &[(String, String)], value: impl Display) {
    write!(text, "\n{name}{} {value}", braced(labels)).expect("writing to a string does not fail");
}

fn put_histogram(
    text: &mut String,
    name: &str,
    mut labels: Vec<(String, String)>,
    value: &HistogramValue,
) {
    let (bucket, mut count) = (format!("{name}_bucket"), 0);
    let bounds = value.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    for (bound, more) in bounds.zip(&value.counts) {
        count += more;
        labels.push(("le".to_owned(), bound));
        put(text, &bucket, &labels, count);
        labels.pop();
    }
    put(text, &format!("{name}_sum"), &labels, value.sum);
    put(text, &format!("{name}_count"), &labels, count);
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
    expiring::DROPPED,
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

    metric_set! {
        /// What is counted of a guest.
        struct GuestMetrics expiring ["guest", "side"];
        /// Glasses drunk.
        glasses: Counter = "guest_glasses", "{glass}";
        /// Time the guest spoke.
        spoke: Counter = "guest_spoke", "s";
        /// How long a visit took.
        visit: Histogram = "guest_visit_bytes", "By";
        /// Steps taken through a door.
        entered: Counter = "door_entered", "{person}";
        /// Time since the last glass.
        last: Age = "guest_last_glass_age", "s";
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

    /// The page while a guest with these labels is there; each test has a name of its own, since
    /// the registry is the process's.
    fn page_with_guest(name: &str, naming: Naming, constant: &[(&str, &str)]) -> String {
        let guest = GuestMetrics::new(&[("side", "left\\"), ("guest", name)]);
        guest.glasses.increment(2);
        guest.spoke.increment(7);
        guest.entered.increment(1);
        guest.last.clear();
        for size in [100, 128, 129, 1 << 30] {
            guest.visit.record(size);
        }
        page(naming, constant)
    }

    #[test]
    fn expiring_series_are_shown_beside_the_recorders() {
        let page = page_with_guest("A \"1\"\n", Naming::Plain, &[]);
        let labels = r#"guest="A \"1\"\n",side="left\\""#;
        has(&page, "# HELP guest_glasses Glasses drunk.");
        has(&page, "# TYPE guest_glasses counter");
        has(&page, &format!("guest_glasses{{{labels}}} 2"));
        has(&page, "# TYPE guest_last_glass_age gauge");
        has(&page, &format!("guest_last_glass_age{{{labels}}} 0"));
        has(&page, "# TYPE guest_visit_bytes histogram");
        has(&page, &format!("guest_visit_bytes_bucket{{{labels},le=\"128\"}} 2"));
        has(&page, &format!("guest_visit_bytes_bucket{{{labels},le=\"16777216\"}} 3"));
        has(&page, &format!("guest_visit_bytes_bucket{{{labels},le=\"+Inf\"}} 4"));
        has(&page, &format!("guest_visit_bytes_sum{{{labels}}} {}", 100 + 128 + 129 + (1 << 30)));
        has(&page, &format!("guest_visit_bytes_count{{{labels}}} 4"));
        has(&page, "# TYPE otelcol_telemetry_departed_series_dropped counter");
    }

    #[test]
    fn expiring_series_join_the_recorders_family_of_their_name() {
        let page = page_with_guest("B", Naming::Plain, &[]);
        let heads = page.lines().filter(|line| *line == "# TYPE door_entered counter");
        assert_eq!(heads.count(), 1, "{page}");
        has(&page, "door_entered{door=\"front\"} 3");
        has(&page, r#"door_entered{guest="B",side="left\\"} 1"#);
    }

    #[test]
    fn expiring_series_follow_the_switches_and_carry_constant_labels() {
        let page = page_with_guest("C", Naming::Suffixed, &[("service_name", "edge")]);
        let labels = r#"service_name="edge",guest="C",side="left\\""#;
        has(&page, "# TYPE guest_spoke_seconds_total counter");
        has(&page, &format!("guest_spoke_seconds_total{{{labels}}} 7"));
        has(&page, &format!("guest_glasses_total{{{labels}}} 2"));
        has(&page, &format!("door_entered_total{{{labels}}} 1"));
        has(&page, &format!("guest_visit_bytes_bucket{{{labels},le=\"128\"}} 2"));
        has(&page, &format!("guest_last_glass_age_seconds{{{labels}}} 0"));
    }
}
