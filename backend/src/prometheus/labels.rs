//! The labels of a series, from a data point's attributes, its scope and its resource.
//!
//! Scraping and remote write make them by one rule and differ in what [`LabelRules`] says.
//!
//! No attribute is lost and no series is left out for its labels: attributes whose label names
//! coincide are joined by `;`, and one whose label name is taken by the exporter becomes
//! `exported_…`, as Prometheus itself does with labels of a target.
//!
//! Source: contrib exporter/prometheusexporter/collector.go.

use std::collections::BTreeMap;

use shared::identity::hash_attributes;
use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{AnyValue, Attributes};

use super::attribute_text::{lossy, text};
use super::names::Naming;
use super::resource_attributes::{ResourceAttributes, SERVICE_ATTRIBUTES};

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// How labels are made.
#[derive(Debug, Clone)]
pub(crate) struct LabelRules {
    pub(crate) naming: Naming,
    /// Labels of every series but `target_info`.
    pub(crate) constant: BTreeMap<String, String>,
    pub(crate) scope: ScopeInfo,
    /// What of a resource its series show.
    pub(crate) resource: ResourceAttributes,
}

/// Whether series say which scope they are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScopeInfo {
    /// By labels `otel_scope_…`.
    Written,
    LeftOut,
}

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
}

impl LabelRules {
    /// The labels of a series. `last` is the label that its type adds to its samples.
    pub(crate) fn series(
        &self,
        resource: &ResourceLabels<'_>,
        scope: &ScopeLabels<'_>,
        attributes: Attributes<'_>,
        last: Option<&str>,
    ) -> Labels {
        let mut taken = Labels::new();
        for (name, value) in [("job", &resource.job), ("instance", &resource.instance)] {
            if let Some(value) = value {
                taken.insert(name.to_owned(), value.clone());
            }
        }
        if self.scope == ScopeInfo::Written {
            self.add_scope(&mut taken, scope);
        }
        self.add_constant(&mut taken, last);
        let mut own = BTreeMap::new();
        add_attributes(&mut own, attributes);
        if !self.resource.is_empty() {
            let resource = resource.entry.resource().attributes();
            add_attributes(&mut own, resource.filter(|(key, _)| self.resource.takes(&lossy(key))));
        }
        self.joined(taken, own, last)
    }

    /// The labels of `target_info`: what is not in `job` and `instance`. `None` unless the
    /// resource has both.
    pub(crate) fn target_info(&self, resource: &ResourceLabels<'_>) -> Option<Labels> {
        let (job, instance) = (resource.job.as_deref()?, resource.instance.as_deref()?);
        if job.is_empty() || instance.is_empty() {
            return None;
        }
        let mut taken = Labels::new();
        taken.insert("job".to_owned(), job.to_owned());
        taken.insert("instance".to_owned(), instance.to_owned());
        let mut own = BTreeMap::new();
        let is_service = |key| SERVICE_ATTRIBUTES.iter().any(|name| name.as_bytes() == key);
        let attributes = resource.entry.resource().attributes();
        add_attributes(&mut own, attributes.filter(|(key, _)| !is_service(*key)));
        Some(self.joined(taken, own, None))
    }

    fn add_scope(&self, labels: &mut Labels, scope: &ScopeLabels<'_>) {
        for (name, value) in [
            ("otel_scope_name", scope.entry.name()),
            ("otel_scope_version", scope.entry.version()),
            ("otel_scope_schema_url", scope.entry.schema_url()),
        ] {
            labels.insert(name.to_owned(), lossy(value));
        }
        for (key, value) in scope.entry.attributes() {
            if !matches!(key, b"name" | b"version" | b"schema_url") {
                let key = format!("otel_scope_{}", lossy(key));
                join(labels, self.naming.label(&key).into_owned(), text(value));
            }
        }
    }

    /// Constant labels give way to what tells where a series comes from.
    fn add_constant(&self, taken: &mut Labels, last: Option<&str>) {
        for (name, value) in &self.constant {
            let mut name = self.naming.label(name).into_owned();
            if taken.contains_key(&name) || last == Some(name.as_str()) {
                name.insert_str(0, "exported_");
            }
            join(taken, name, value.clone());
        }
    }

    /// Attributes by their labels' names; they give way to labels that are `taken`.
    fn joined(
        &self,
        taken: Labels,
        attributes: BTreeMap<String, String>,
        last: Option<&str>,
    ) -> Labels {
        let mut labels = Labels::new();
        for (key, value) in attributes {
            let mut name = self.naming.label(&key).into_owned();
            while taken.contains_key(&name) || last == Some(name.as_str()) {
                name.insert_str(0, "exported_");
            }
            join(&mut labels, name, value);
        }
        labels.extend(taken);
        labels
    }
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

/// Adds a label; values under one name are joined.
pub(crate) fn join(labels: &mut Labels, name: String, value: String) {
    labels
        .entry(name)
        .and_modify(|joined| {
            joined.push(';');
            joined.push_str(&value);
        })
        .or_insert(value);
}
