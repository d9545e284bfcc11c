//! `service::telemetry`. Source: collector service/telemetry/otelconftelemetry.

use std::collections::BTreeMap;

use crate::config::{Data, Decode, Node, Path, Problems, expected};
use crate::{config_enum, config_struct};

config_struct! {
    /// `service::telemetry`: what the process says of itself.
    pub struct TelemetryConfig {
        /// The page of metrics.
        pub metrics: MetricsConfig = MetricsConfig::default(),
        /// The process's own logs.
        pub logs: LogsConfig = LogsConfig::default(),
        /// The process's own traces; accepted, none are made.
        pub traces: Ignored = Ignored::default(),
        /// Attributes of the process, on `target_info`.
        pub resource: ResourceConfig = ResourceConfig::default(),
    }
}

config_enum! {
    /// How much is measured.
    pub enum Level {
        /// Nothing; no page is served.
        None = "none" | "None" | "NONE",
        /// As `detailed`.
        Basic = "basic" | "Basic" | "BASIC",
        /// As `detailed`.
        Normal = "normal" | "Normal" | "NORMAL",
        /// Everything.
        Detailed = "detailed" | "Detailed" | "DETAILED",
    }
}

config_struct! {
    /// `service::telemetry::metrics`.
    pub struct MetricsConfig {
        /// How much is measured: nothing, or everything.
        pub level: Level = Level::Normal,
        /// Where the metrics can be had. Default: a page on localhost:8888.
        pub readers: Vec<ReaderConfig> = vec![ReaderConfig::localhost()],
        /// The Collector's former key for the page's address.
        pub address: Option<String> = None,
        /// Accepted; metrics are given as they are.
        pub views: Ignored = Ignored::default(),
    }
}

config_struct! {
    /// One of `service::telemetry::metrics::readers`.
    pub struct ReaderConfig {
        /// A page to be read.
        pub pull: Option<PullConfig> = None,
        /// Accepted; metrics are not pushed.
        pub periodic: Ignored = Ignored::default(),
    }
}

config_struct! {
    /// `pull`: a page to be read.
    pub struct PullConfig {
        /// In which form.
        pub exporter: PullExporterConfig = PullExporterConfig::default(),
    }
}

config_struct! {
    /// `pull::exporter`.
    pub struct PullExporterConfig {
        /// Prometheus' text format.
        pub prometheus: Option<PrometheusConfig> = None,
    }
}

config_struct! {
    /// `pull::exporter::prometheus`: the page.
    pub struct PrometheusConfig {
        /// Address to listen on.
        pub host: String = "localhost".to_owned(),
        /// Port to listen on; 0 takes a free one.
        pub port: u16 = 8888,
        /// Accepted; there are no scopes.
        pub without_scope_info: bool = true,
        /// Whether names go without their unit.
        pub without_units: bool = true,
        /// Whether counters go without `_total`.
        pub without_type_suffix: bool = true,
        /// Which attributes of the resource become labels of every series.
        pub with_resource_constant_labels: ConstantLabelsConfig = ConstantLabelsConfig::default(),
    }
}

config_struct! {
    /// `with_resource_constant_labels`: names of attributes, or `*` for all.
    pub struct ConstantLabelsConfig {
        /// Attributes that become labels.
        pub included: Vec<String> = Vec::new(),
        /// Attributes of those that do not.
        pub excluded: Vec<String> = Vec::new(),
    }
}

config_enum! {
    /// The least severe records that are logged.
    pub enum LogLevel {
        /// All.
        Debug = "debug" | "DEBUG",
        /// Changes of state, and worse.
        Info = "info" | "INFO",
        /// What is degraded, and worse.
        Warn = "warn" | "WARN",
        /// What was lost.
        Error = "error" | "ERROR",
        /// As `error`.
        Dpanic = "dpanic" | "DPANIC",
        /// As `error`.
        Panic = "panic" | "PANIC",
        /// As `error`.
        Fatal = "fatal" | "FATAL",
    }
}

config_enum! {
    /// How a record is written.
    pub enum Encoding {
        /// For people.
        Console = "console",
        /// For machines.
        Json = "json",
    }
}

config_struct! {
    /// `service::telemetry::logs`.
    pub struct LogsConfig {
        /// The least severe records that are logged.
        pub level: LogLevel = LogLevel::Info,
        /// How a record is written.
        pub encoding: Encoding = Encoding::Console,
        /// Accepted; changes nothing.
        pub development: bool = false,
        /// Accepted; records name their module, never a line.
        pub disable_caller: bool = false,
        /// Accepted; records have no stack trace.
        pub disable_stacktrace: bool = false,
        /// Accepted; changes nothing.
        pub disable_zap_resource: bool = false,
        /// Accepted; records that could come with every batch are thinned where they are made.
        pub sampling: Ignored = Ignored::default(),
        /// Accepted; logs go to stderr.
        pub output_paths: Vec<String> = vec!["stderr".to_owned()],
        /// Accepted; logs go to stderr.
        pub error_output_paths: Vec<String> = vec!["stderr".to_owned()],
        /// Accepted; changes nothing.
        pub initial_fields: Ignored = Ignored::default(),
        /// Accepted; logs are not exported.
        pub processors: Ignored = Ignored::default(),
    }
}

/// A part of the Collector's model that has no meaning here: any value will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Whether something was given.
    pub given: bool,
}

impl Decode for Ignored {
    fn decode(_: &Node, _: &Path<'_>, _: &mut Problems) -> Option<Self> {
        Some(Self { given: true })
    }
}

/// `service::telemetry::resource`: attributes of the process.
///
/// Written as a map of names to values, where null takes away an attribute that is there by
/// itself, or as the declarative `attributes: [{name, value}]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceConfig {
    /// Values by name; `None` takes the attribute away.
    pub attributes: BTreeMap<String, Option<String>>,
}

impl Decode for ResourceConfig {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Data::Map(entries) = &node.data else {
            return expected("a map", node, at, problems);
        };
        let declarative =
            node.get("attributes").is_some_and(|list| matches!(list.data, Data::List(_)));
        let mut attributes = BTreeMap::new();
        if declarative {
            let list = Vec::<NamedValue>::decode(
                node.get("attributes").expect("it was found above"),
                &at.key("attributes"),
                problems,
            )?;
            attributes.extend(list.into_iter().map(|pair| (pair.name, Some(pair.value))));
            return Some(Self { attributes });
        }
        for entry in entries {
            let value = match entry.value.is_null() {
                true => None,
                false => Some(String::decode(&entry.value, &at.key(&entry.key), problems)?),
            };
            attributes.insert(entry.key.clone(), value);
        }
        Some(Self { attributes })
    }
}

config_struct! {
    /// An attribute in the declarative form.
    struct NamedValue {
        pub name: String = String::new(),
        pub value: String = String::new(),
        pub r#type: Option<String> = None,
    }
}

impl ReaderConfig {
    fn localhost() -> Self {
        let exporter = PullExporterConfig { prometheus: Some(PrometheusConfig::default()) };
        Self { pull: Some(PullConfig { exporter }), ..Self::default() }
    }
}

impl TelemetryConfig {
    /// The page to serve; none at level `none`.
    pub fn page(&self) -> Option<PrometheusConfig> {
        if self.metrics.level == Level::None {
            return None;
        }
        let page = self.pages().next().cloned();
        match self.metrics.address.as_deref().and_then(host_and_port) {
            None => page,
            Some((host, port)) => Some(PrometheusConfig { host, port, ..page.unwrap_or_default() }),
        }
    }

    fn pages(&self) -> impl Iterator<Item = &PrometheusConfig> {
        self.metrics
            .readers
            .iter()
            .filter_map(|reader| reader.pull.as_ref()?.exporter.prometheus.as_ref())
    }

    /// Reports everything that is wrong, and warns of what is accepted without effect.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let metrics = at.key("metrics");
        let readers = metrics.key("readers");
        if self.metrics.level != Level::None
            && self.metrics.readers.is_empty()
            && self.metrics.address.is_none()
        {
            problems.report(
                &metrics,
                "collector telemetry metrics reader should exist when metric level is not none",
            );
        }
        if self.pages().count() > 1 {
            problems.report(&readers, "only one pull reader can be served");
        }
        for (index, reader) in self.metrics.readers.iter().enumerate() {
            let at = readers.index(index);
            if reader.periodic.given {
                problems.warn(&at.key("periodic"), "metrics are not pushed; this has no effect");
            }
            if !reader.periodic.given && reader.pull.is_none() {
                problems.report(&at, "must have `pull` or `periodic`");
            }
        }
        if self.pages().any(|page| !page.without_scope_info) {
            problems.warn(&readers, "there are no scopes; `without_scope_info` has no effect");
        }
        if let Some(address) = &self.metrics.address {
            let at = metrics.key("address");
            match host_and_port(address) {
                Some(_) => problems.warn(
                    &at,
                    "is deprecated; use readers with pull::exporter::prometheus::{host, port}",
                ),
                None => problems.report(&at, format!("\"{address}\" is not host:port")),
            }
        }
        self.warn_of_ignored(at, problems);
    }

    fn warn_of_ignored(&self, at: &Path<'_>, problems: &mut Problems) {
        let (metrics, logs) = (at.key("metrics"), at.key("logs"));
        let ignored = [
            (self.traces.given, at.key("traces")),
            (self.metrics.views.given, metrics.key("views")),
            (self.logs.initial_fields.given, logs.key("initial_fields")),
            (self.logs.processors.given, logs.key("processors")),
        ];
        for (_, at) in ignored.iter().filter(|(given, _)| *given) {
            problems.warn(at, "is accepted and has no effect");
        }
        let outputs = [
            ("output_paths", &self.logs.output_paths),
            ("error_output_paths", &self.logs.error_output_paths),
        ];
        for (key, paths) in outputs {
            if paths.iter().any(|path| path != "stderr") {
                problems.warn(&logs.key(key), "logs go to stderr only");
            }
        }
    }
}

/// Splits `host:port`; an empty host is all addresses, a host in brackets is IPv6.
pub(crate) fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::testing::section;

    fn read(json: &serde_json::Value) -> (TelemetryConfig, Vec<String>, Vec<String>) {
        section(json, TelemetryConfig::validate)
    }

    #[track_caller]
    fn page(json: &serde_json::Value, expected: Option<(&str, u16)>) {
        let (config, problems, _) = read(json);
        assert_eq!(problems, [""; 0]);
        let page = config.page();
        assert_eq!(page.as_ref().map(|page| (page.host.as_str(), page.port)), expected);
    }

    #[test]
    fn a_page_on_localhost_is_the_default() {
        page(&json!({}), Some(("localhost", 8888)));
        page(&json!({"metrics": {"level": "Detailed"}}), Some(("localhost", 8888)));
        page(&json!({"metrics": {"level": "none"}}), None);
    }

    #[test]
    fn a_reader_places_the_page() {
        let reader =
            json!({"pull": {"exporter": {"prometheus": {"host": "0.0.0.0", "port": 9000}}}});
        page(&json!({"metrics": {"readers": [reader]}}), Some(("0.0.0.0", 9000)));
        let periodic = json!({"periodic": {"exporter": {"console": {}}}});
        page(&json!({"metrics": {"readers": [periodic]}}), None);
    }

    #[test]
    fn the_former_address_still_places_the_page() {
        let (config, problems, warnings) = read(&json!({"metrics": {"address": ":9999"}}));
        assert!(problems.is_empty(), "{problems:?}");
        let page = config.page().unwrap();
        assert_eq!((page.host.as_str(), page.port), ("0.0.0.0", 9999));
        assert!(warnings[0].starts_with("a::metrics::address: is deprecated"), "{warnings:?}");
    }

    #[test]
    fn what_has_no_effect_is_warned_of() {
        let (_, problems, warnings) = read(&json!({
            "traces": {"processors": [{"batch": {}}]},
            "logs": {"output_paths": ["/var/log/x"], "sampling": {"enabled": false}},
            "metrics": {"views": []},
        }));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            warnings,
            [
                "a::traces: is accepted and has no effect",
                "a::metrics::views: is accepted and has no effect",
                "a::logs::output_paths: logs go to stderr only",
            ]
        );
    }

    #[test]
    fn every_problem_is_named() {
        let (_, problems, _) = read(&json!({"metrics": {"readers": []}}));
        assert_eq!(
            problems,
            [
                "a::metrics: collector telemetry metrics reader should exist when metric level is not none"
            ]
        );
        let page = json!({"pull": {"exporter": {"prometheus": {}}}});
        let (_, problems, _) = read(&json!({"metrics": {"readers": [page, page, {}]}}));
        assert_eq!(
            problems,
            [
                "a::metrics::readers: only one pull reader can be served",
                "a::metrics::readers::2: must have `pull` or `periodic`",
            ]
        );
        let (_, problems, _) = read(&json!({"metrics": {"address": "nowhere"}}));
        assert_eq!(problems, ["a::metrics::address: \"nowhere\" is not host:port"]);
    }

    #[test]
    fn the_resource_is_read_in_both_forms() {
        let (inline, ..) = read(&json!({"resource": {"service.name": null, "zone": "a", "n": 1}}));
        let attributes = &inline.resource.attributes;
        assert_eq!(attributes["service.name"], None);
        assert_eq!(attributes["zone"].as_deref(), Some("a"));
        assert_eq!(attributes["n"].as_deref(), Some("1"));
        let (declared, ..) =
            read(&json!({"resource": {"attributes": [{"name": "zone", "value": "a"}]}}));
        assert_eq!(declared.resource.attributes["zone"].as_deref(), Some("a"));
    }
}
