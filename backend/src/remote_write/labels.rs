//! The labels of a series, by the rules of scraping but for what the Collector's remote write does
//! otherwise: external labels give way to all others, the scope's schema is left out, and so is
//! what is empty, which a receiver takes for absent.
//!
//! Source: contrib pkg/translator/prometheusremotewrite/helper.go.

use std::sync::Arc;

use shared::wire::Attributes;
use shared::wire::export::ResourceEntry;

use super::series::Label;
use super::translate::Settings;
use crate::prometheus::attribute_text::{lossy, text};
use crate::prometheus::labels::{Labels, ResourceLabels, ScopeLabels, join};
use crate::prometheus::resource_attributes::SERVICE_ATTRIBUTES;

/// The labels of a data point's series, without `last`, which its type adds.
pub(super) fn of_point(
    settings: &Settings,
    target: &ResourceLabels<'_>,
    scope: &ScopeLabels<'_>,
    attributes: Attributes<'_>,
    last: Option<&str>,
) -> Arc<[Label]> {
    let mut labels = settings.rules.series(target, scope, attributes, last);
    labels.remove("otel_scope_schema_url");
    finish(settings, labels)
}

/// The labels of `target_info`. `None` if there is nothing to tell, or of nobody.
pub(super) fn of_target(
    settings: &Settings,
    entry: ResourceEntry<'_>,
    target: &ResourceLabels<'_>,
) -> Option<Arc<[Label]>> {
    let mut identity = Labels::new();
    for (name, value) in [("job", &target.job), ("instance", &target.instance)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            identity.insert(name.to_owned(), value.clone());
        }
    }
    let mut attributes = Labels::new();
    for (key, value) in entry.resource().attributes() {
        let key = lossy(key);
        if !SERVICE_ATTRIBUTES.contains(&key.as_str()) {
            attributes.insert(key, text(value));
        }
    }
    if identity.is_empty() || attributes.is_empty() {
        return None;
    }
    let mut labels = Labels::new();
    for (key, value) in attributes {
        let mut name = settings.target_naming.label(&key).into_owned();
        while identity.contains_key(&name) {
            name.insert_str(0, "exported_");
        }
        join(&mut labels, name, value);
    }
    labels.extend(identity);
    Some(finish(settings, labels))
}

fn finish(settings: &Settings, mut labels: Labels) -> Arc<[Label]> {
    labels.retain(|_, value| !value.is_empty());
    for (name, value) in &settings.external_labels {
        labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    labels.into_iter().collect()
}
