//! The labels of a series, from a data point's attributes, its scope and its resource.
//!
//! No attribute is lost and no series is left out for its labels: attributes whose label names
//! coincide are joined by `;`, and one whose label name is taken by the exporter becomes
//! `exported_…`, as Prometheus itself does with labels of a target.
//!
//! Source: contrib exporter/prometheusexporter/collector.go.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{AnyValue, Attributes};

use super::config::PrometheusConfig;
use super::names::label_name;
use super::text::write_label;
use shared::identity::hash_attributes;

/// How deep the text of arrays and maps goes.
const MAX_DEPTH: u32 = 8;

/// Labels by name, before they are written.
type Labels = BTreeMap<String, String>;

/// Resource attributes that make up `job` and `instance`.
const SERVICE_ATTRIBUTES: [&[u8]; 3] =
    [b"service.name", b"service.namespace", b"service.instance.id"];

/// What all series of a resource entry share.
pub(crate) struct ResourceLabels<'a> {
    entry: ResourceEntry<'a>,
    /// Tells the resource apart.
    pub(crate) id: u128,
    pub(crate) job: Option<String>,
    pub(crate) instance: Option<String>,
}

/// What all series of a scope share.
pub(crate) struct ScopeLabels<'a> {
    entry: ScopeEntry<'a>,
    /// Tells the scope apart.
    pub(crate) id: u128,
}

impl<'a> ResourceLabels<'a> {
    pub(crate) fn new(entry: ResourceEntry<'a>) -> Self {
        let resource = entry.resource();
        let get = |key| resource.attribute(key).map(|value| text(value));
        let job = match (get(b"service.namespace"), get(b"service.name")) {
            (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
            (_, name) => name,
        };
        let id = hash_attributes(resource.attributes());
        Self { entry, id, job, instance: get(b"service.instance.id") }
    }

    /// Tells the target apart, whatever its other attributes.
    pub(crate) fn target_id(&self) -> u128 {
        let bytes = |label: &'_ Option<String>| label.clone().unwrap_or_default().into_bytes();
        let (job, instance) = (bytes(&self.job), bytes(&self.instance));
        hash_attributes([
            (&b"job"[..], AnyValue::String(&job)),
            (b"instance", AnyValue::String(&instance)),
        ])
    }

    /// The labels of `target_info`: what is not in `job` and `instance`. `None` unless the
    /// resource has both.
    pub(crate) fn target_info(&self) -> Option<String> {
        let (job, instance) = (self.job.as_deref()?, self.instance.as_deref()?);
        if job.is_empty() || instance.is_empty() {
            return None;
        }
        let mut taken = Labels::new();
        taken.insert("job".to_owned(), job.to_owned());
        taken.insert("instance".to_owned(), instance.to_owned());
        let mut attributes = BTreeMap::new();
        let resource = self.entry.resource().attributes();
        add_attributes(
            &mut attributes,
            resource.filter(|(key, _)| !SERVICE_ATTRIBUTES.contains(key)),
        );
        Some(write(taken, attributes, None))
    }
}

impl<'a> ScopeLabels<'a> {
    pub(crate) fn new(entry: ScopeEntry<'a>) -> Self {
        let own: [(&[u8], AnyValue<'_>); 3] = [
            (b"name", AnyValue::String(entry.name())),
            (b"version", AnyValue::String(entry.version())),
            (b"schema_url", AnyValue::String(entry.schema_url())),
        ];
        // Attributes count apart, so that one called `name` is not taken for the scope's name.
        let id =
            hash_attributes(own).rotate_left(1).wrapping_add(hash_attributes(entry.attributes()));
        Self { entry, id }
    }

    fn add_to(&self, labels: &mut Labels) {
        for (name, value) in [
            ("otel_scope_name", self.entry.name()),
            ("otel_scope_version", self.entry.version()),
            ("otel_scope_schema_url", self.entry.schema_url()),
        ] {
            labels.insert(name.to_owned(), lossy(value));
        }
        for (key, value) in self.entry.attributes() {
            if !matches!(key, b"name" | b"version" | b"schema_url") {
                let name = format!("otel_scope_{}", label_name(&lossy(key)));
                join(labels, name, text(value));
            }
        }
    }
}

/// The labels of a series, as they stand in a sample. `last` is the label that its type adds.
pub(crate) fn series_labels(
    config: &PrometheusConfig,
    resource: &ResourceLabels<'_>,
    scope: &ScopeLabels<'_>,
    attributes: Attributes<'_>,
    last: Option<&str>,
) -> String {
    let mut taken = Labels::new();
    if !config.without_scope_info {
        scope.add_to(&mut taken);
    }
    for (name, value) in &config.const_labels {
        taken.insert(label_name(name).into_owned(), value.clone());
    }
    for (name, value) in [("job", &resource.job), ("instance", &resource.instance)] {
        if let Some(value) = value {
            taken.insert(name.to_owned(), value.clone());
        }
    }
    let mut own = BTreeMap::new();
    add_attributes(&mut own, attributes);
    let conversion = &config.resource_to_telemetry_conversion;
    if conversion.enabled {
        let resource = resource.entry.resource().attributes();
        add_attributes(
            &mut own,
            resource.filter(|(key, _)| {
                !(conversion.exclude_service_attributes && SERVICE_ATTRIBUTES.contains(key))
            }),
        );
    }
    write(taken, own, last)
}

/// Adds attributes by their key; one that is there already is overwritten.
fn add_attributes<'a>(
    all: &mut BTreeMap<String, String>,
    attributes: impl Iterator<Item = (&'a [u8], AnyValue<'a>)>,
) {
    for (key, value) in attributes {
        all.insert(lossy(key), text(value));
    }
}

/// Writes labels in the order of their names; attributes give way to those that are `taken`.
fn write(taken: Labels, attributes: BTreeMap<String, String>, last: Option<&str>) -> String {
    let mut labels = Labels::new();
    for (key, value) in attributes {
        let mut name = label_name(&key).into_owned();
        if taken.contains_key(&name) || last == Some(name.as_str()) {
            name.insert_str(0, "exported_");
        }
        join(&mut labels, name, value);
    }
    labels.extend(taken);
    let mut out = String::new();
    for (name, value) in &labels {
        write_label(&mut out, name, value);
    }
    out
}

fn join(labels: &mut Labels, name: String, value: String) {
    labels
        .entry(name)
        .and_modify(|joined| {
            joined.push(';');
            joined.push_str(&value);
        })
        .or_insert(value);
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A value as text; arrays and maps as JSON.
fn text(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::String(text) => lossy(text),
        AnyValue::Empty => String::new(),
        AnyValue::Bytes(bytes) => base64(bytes),
        other => {
            let mut out = String::new();
            write_json(&mut out, other, 0);
            out
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn write_json(out: &mut String, value: AnyValue<'_>, depth: u32) {
    match value {
        AnyValue::Empty => out.push_str("null"),
        AnyValue::String(text) => write_json_string(out, &lossy(text)),
        AnyValue::Bool(flag) => out.push_str(if flag { "true" } else { "false" }),
        AnyValue::Int(integer) => {
            let _infallible = write!(out, "{integer}");
        }
        AnyValue::Double(double) => write_json_number(out, double),
        AnyValue::Bytes(bytes) => write_json_string(out, &base64(bytes)),
        AnyValue::Array(_) | AnyValue::KeyValues(_) if depth == MAX_DEPTH => out.push_str("null"),
        AnyValue::Array(array) => {
            out.push('[');
            for (index, element) in AnyValue::elements(array).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(out, element, depth + 1);
            }
            out.push(']');
        }
        AnyValue::KeyValues(list) => {
            let entries: BTreeMap<String, AnyValue<'_>> =
                Attributes::of_list(list).map(|(key, value)| (lossy(key), value)).collect();
            out.push('{');
            for (index, (key, element)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_string(out, &key);
                out.push(':');
                write_json(out, element, depth + 1);
            }
            out.push('}');
        }
    }
}

fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// As Go's JSON writes it: with an exponent below 1e-6 and from 1e21 on.
fn write_json_number(out: &mut String, number: f64) {
    let magnitude = number.abs();
    if number.is_nan() {
        out.push_str("NaN");
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let _infallible = write!(out, "{number:e}");
    } else {
        let _infallible = write!(out, "{number}");
    }
}
