//! What is wrong with a section, and what does not mean what it seems to.

use std::collections::BTreeSet;

use crate::config::{Path, Problems};

use super::super::glob::Glob;
use super::{AggregationTemporality, DimensionConfig, SpanMetricsConfig, default_dimension};

/// Patterns are told apart by the bits of a number.
const MAX_GLOBS: usize = 64;
/// Bounds of a histogram.
const MAX_BOUNDS: usize = 10_000;
/// Exemplars of a data point and flush. More say nothing more, and each takes 40 bytes.
const MAX_EXEMPLARS: usize = 1000;

impl SpanMetricsConfig {
    /// Reports everything that is wrong.
    pub(crate) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.metrics_flush_interval.is_zero() {
            problems.report(&at.key("metrics_flush_interval"), "must be greater than 0");
        }
        if self.resource_metrics_cache_size == 0 {
            problems.report(&at.key("resource_metrics_cache_size"), "must be greater than 0");
        }
        if self.exemplars.enabled && self.exemplars.max_per_data_point > MAX_EXEMPLARS {
            let key = at.key("exemplars");
            let text = format!("must be at most {MAX_EXEMPLARS}");
            problems.report(&key.key("max_per_data_point"), text);
        }
        if self.exemplars.enabled
            && self.exemplars.sampled_only
            && self.aggregation_temporality == AggregationTemporality::Delta
        {
            problems.warn(
                &at.key("exemplars").key("sampled_only"),
                "with delta temporality only traces that are decided within metrics_flush_interval \
                 have exemplars",
            );
        }
        self.check_dimensions(at, problems);
        self.check_bounds(at, problems);
        self.warn_of_excluded(at, problems);
        self.warn_of_resources(at, problems);
        self.warn_of_keys_without_effect(at, problems);
    }

    fn check_dimensions(&self, at: &Path<'_>, problems: &mut Problems) {
        let reserved = self.reserved_names();
        let (histogram, events) = (at.key("histogram"), at.key("events"));
        let common = &self.dimensions;
        check_list(common, &[], &reserved, &at.key("dimensions"), problems);
        let calls = at.key("calls_dimensions");
        check_list(&self.calls_dimensions, common, &reserved, &calls, problems);
        let duration = &self.histogram.dimensions;
        check_list(duration, common, &reserved, &histogram.key("dimensions"), problems);
        if self.events.enabled {
            let list = events.key("dimensions");
            if self.events.dimensions.is_empty() {
                problems.report(&list, "no dimensions configured for events");
            }
            check_list(&self.events.dimensions, common, &reserved, &list, problems);
        }
        let lists = [common, &self.calls_dimensions, duration, &self.events.dimensions];
        let globs = lists.into_iter().flatten().filter(|dimension| !dimension.glob.is_empty());
        if globs.count() > MAX_GLOBS {
            problems.report(at, format!("at most {MAX_GLOBS} dimensions may have a glob"));
        }
    }

    /// Names of attributes that are written whatever the spans say.
    fn reserved_names(&self) -> Vec<&'static str> {
        use default_dimension as name;
        let mut reserved = vec![name::SERVICE_NAME, name::SPAN_NAME, name::SPAN_KIND];
        reserved.extend([name::STATUS_CODE, self.status_attribute.name()]);
        if self.include_collector_instance_id {
            reserved.push(name::INSTANCE_ID);
        }
        if !self.include_instrumentation_scope.is_empty() {
            reserved.extend([name::SCOPE_NAME, name::SCOPE_VERSION]);
        }
        if self.enable_metrics_sampling_method {
            reserved.push(name::SAMPLING_METHOD);
        }
        reserved
    }

    fn check_bounds(&self, at: &Path<'_>, problems: &mut Problems) {
        let histogram = at.key("histogram");
        if let Some(exponential) = self.histogram.exponential.as_ref() {
            let key = histogram.key("exponential");
            if !matches!(exponential.max_size, 0 | 2..=16_384) {
                let text = "is not from 2 to 16384, so the nearest of these is used";
                problems.warn(&key.key("max_size"), text);
            }
            if self.histogram.explicit.is_on() {
                problems.report(&histogram, "use either explicit or exponential buckets histogram");
            }
        }
        let Some(explicit) = self.histogram.explicit.as_ref() else { return };
        let key = histogram.key("explicit");
        let list = key.key("buckets");
        if explicit.buckets.is_empty() {
            problems.warn(&list, "is empty, so the default bounds are used");
        }
        if explicit.buckets.len() > MAX_BOUNDS {
            problems.report(&list, format!("at most {MAX_BOUNDS} bounds are possible"));
        }
        for (index, pair) in explicit.buckets.windows(2).enumerate() {
            if pair[0] >= pair[1] {
                problems.report(
                    &list.index(index + 1),
                    format!("bounds must ascend, but {:?} follows {:?}", pair[1], pair[0]),
                );
            }
        }
    }

    fn warn_of_excluded(&self, at: &Path<'_>, problems: &mut Problems) {
        let list = at.key("exclude_dimensions");
        for (index, name) in self.exclude_dimensions.iter().enumerate() {
            if !default_dimension::ALL.contains(&name.as_str()) {
                let known = default_dimension::ALL.join(", ");
                let text = format!(
                    "\"{name}\" is no default dimension and has no effect (they are {known})"
                );
                problems.warn(&list.index(index), text);
            }
        }
    }

    fn warn_of_resources(&self, at: &Path<'_>, problems: &mut Problems) {
        let list = at.key("resource_metrics_key_attributes");
        for (index, name) in self.resource_metrics_key_attributes.iter().enumerate() {
            if !lasts(name.as_bytes()) {
                let text = format!(
                    "\"{name}\" changes with each start of a process, so its series never last"
                );
                problems.warn(&list.index(index), text);
            }
        }
        if self.add_resource_attributes && !self.exclude_resource_attributes {
            let text = "has no effect, since exclude_resource_attributes is not set";
            problems.warn(&at.key("add_resource_attributes"), text);
        }
    }

    fn warn_of_keys_without_effect(&self, at: &Path<'_>, problems: &mut Problems) {
        for (key, is_set) in [
            ("dimensions_cache_size", self.dimensions_cache_size.is_some()),
            ("metric_timestamp_cache_size", self.metric_timestamp_cache_size.is_some()),
        ] {
            if is_set {
                problems.warn(&at.key(key), "has no effect and can be removed");
            }
        }
    }
}

/// Whether a resource attribute stays the same when a process is started anew, or replaced by
/// another of its kind.
pub(crate) fn lasts(name: &[u8]) -> bool {
    const PASSING: [&[u8]; 7] = [
        b"service.instance.id",
        b"container.id",
        b"container.name",
        b"k8s.container.restart_count",
        b"k8s.replicaset.name",
        b"k8s.replicaset.uid",
        b"host.ip",
    ];
    let is_of_process = name.starts_with(b"process.") && !name.starts_with(b"process.runtime.");
    !is_of_process && !name.starts_with(b"k8s.pod.") && !PASSING.contains(&name)
}

/// Checks a list of dimensions, which is written after the dimensions of `common`.
fn check_list(
    list: &[DimensionConfig],
    common: &[DimensionConfig],
    reserved: &[&str],
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (index, dimension) in list.iter().enumerate() {
        let at = at.index(index);
        let name = dimension.name.as_str();
        match (name, dimension.glob.as_str()) {
            ("", "") => problems.report(&at, "must set one of name and glob"),
            ("", glob) => check_glob(dimension, glob, &at, problems),
            (_, "") if reserved.contains(&name) => {
                problems.report(&at.key("name"), format!("\"{name}\" is a default dimension"));
            }
            (_, "") if !names.insert(name) => {
                problems.report(&at.key("name"), format!("duplicate dimension \"{name}\""));
            }
            (_, "") if common.iter().any(|common| common.name == name) => {
                let text = format!("\"{name}\" is among the dimensions of all metrics already");
                problems.warn(&at.key("name"), text);
            }
            (_, "") => {}
            _ => problems.report(&at, "must set only one of name and glob"),
        }
    }
    let globs = list.iter().enumerate().filter(|(_, dimension)| dimension.name.is_empty());
    for (index, dimension) in globs {
        let Ok(glob) = Glob::new(&dimension.glob) else { continue };
        let taken = reserved.iter().chain(&names).find(|name| glob.matches(name));
        if let Some(name) = taken {
            let text = format!("matches \"{name}\", which is a dimension already");
            problems.report(&at.index(index).key("glob"), text);
        }
    }
}

fn check_glob(dimension: &DimensionConfig, glob: &str, at: &Path<'_>, problems: &mut Problems) {
    if dimension.default.is_some() {
        problems.report(&at.key("default"), "is not possible with glob");
    }
    if let Err(error) = Glob::new(glob) {
        problems.report(&at.key("glob"), format!("is no pattern: {error}"));
    }
}
