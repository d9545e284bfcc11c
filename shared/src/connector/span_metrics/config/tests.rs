//! Claims about what is valid.

use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;

/// Errors and warnings of a section, which stands at `a`.
#[track_caller]
fn check(json: &Value, errors: &[&str], warnings: &[&str]) {
    let (_, found, warned) = section(json, SpanMetricsConfig::check);
    assert_eq!((&found[..], &warned[..]), (&owned(errors)[..], &owned(warnings)[..]), "{json}");
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| format!("a::{text}")).collect()
}

fn read(json: &Value) -> SpanMetricsConfig {
    section::<SpanMetricsConfig>(json, |_, _, _| {}).0
}

#[test]
fn defaults_are_the_collectors_but_for_the_bounds() {
    let config = read(&json!({}));
    assert_eq!(config.namespace, "traces.span.metrics");
    assert_eq!(config.histogram.unit, Unit::Milliseconds);
    let bounds = [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10_000, 15_000];
    assert_eq!(config.histogram.bounds(), bounds.map(Duration::from_millis));
    assert!(!config.histogram.disable);
    assert_eq!(config.aggregation_temporality, AggregationTemporality::Cumulative);
    assert_eq!(config.metrics_flush_interval, Duration::from_secs(60));
    assert_eq!((config.metrics_expiration, config.series_expiration), Default::default());
    assert_eq!(config.resource_metrics_cache_size, 1000);
    assert!(config.resource_metrics_key_attributes.is_empty());
    assert_eq!((config.exemplars.enabled, config.exemplars.max_per_data_point), (false, 5));
    assert!(!config.events.enabled && !config.self_time.enabled);
    assert!(!config.enable_metrics_sampling_method && !config.add_resource_attributes);
    // Unlimited in the Collector.
    assert_eq!(config.aggregation_cardinality_limit, 10_000);
    assert_eq!((config.max_series, config.max_series_bytes), (100_000, 128 << 20));
    check(&json!({}), &[], &[]);
}

#[test]
fn a_dimension_has_a_name_or_a_pattern_and_stands_once_in_a_list() {
    check(
        &json!({
            "dimensions": [
                { "name": "a" }, { "name": "span.name" }, { "name": "a" }, {},
                { "name": "c", "glob": "d" },
            ],
            "calls_dimensions": [{ "name": "b" }, { "name": "a" }],
            "histogram": { "dimensions": [{ "name": "b" }] },
        }),
        &[
            "dimensions::1::name: \"span.name\" is a default dimension",
            "dimensions::2::name: duplicate dimension \"a\"",
            "dimensions::3: must set one of name and glob",
            "dimensions::4: must set only one of name and glob",
        ],
        &["calls_dimensions::1::name: \"a\" is among the dimensions of all metrics already"],
    );
}

#[test]
fn a_pattern_has_no_default_and_matches_no_name_that_is_taken() {
    check(
        &json!({
            "dimensions": [
                { "glob": "http.*", "default": "x" }, { "glob": "span.*" }, { "glob": "[" },
                { "glob": "rpc.?" }, { "name": "rpc.x" },
            ],
        }),
        &[
            "dimensions::0::default: is not possible with glob",
            "dimensions::2::glob: is no pattern: a [ is not closed",
            "dimensions::1::glob: matches \"span.name\", which is a dimension already",
            "dimensions::3::glob: matches \"rpc.x\", which is a dimension already",
        ],
        &[],
    );
    let globs: Vec<_> = (0..65).map(|index| json!({ "glob": format!("{index}.*") })).collect();
    let (_, errors, _) = section(&json!({ "dimensions": globs }), SpanMetricsConfig::check);
    assert_eq!(errors, ["a: at most 64 dimensions may have a glob"]);
}

#[test]
fn names_are_reserved_only_while_they_are_written() {
    let names = json!([{ "name": "collector.instance.id" }, { "name": "sampling.method" }]);
    let (instance, method) = (
        "dimensions::0::name: \"collector.instance.id\" is a default dimension",
        "dimensions::1::name: \"sampling.method\" is a default dimension",
    );
    check(&json!({ "dimensions": names }), &[instance], &[]);
    check(
        &json!({
            "dimensions": names,
            "include_collector_instance_id": false,
            "enable_metrics_sampling_method": true,
        }),
        &[method],
        &[],
    );
}

#[test]
fn events_need_dimensions() {
    let list = "events::dimensions: no dimensions configured for events";
    check(&json!({ "events": { "enabled": true } }), &[list], &[]);
    check(&json!({ "events": { "enabled": false } }), &[], &[]);
    let dimensions = json!([{ "name": "exception.type" }]);
    check(&json!({ "events": { "enabled": true, "dimensions": dimensions } }), &[], &[]);
}

#[test]
fn bounds_must_ascend_and_none_means_the_default_ones() {
    let explicit = |buckets: Value| json!({ "histogram": { "explicit": { "buckets": buckets } } });
    check(
        &explicit(json!(["1ms", "5ms", "5ms", "3ms"])),
        &[
            "histogram::explicit::buckets::2: bounds must ascend, but 5ms follows 5ms",
            "histogram::explicit::buckets::3: bounds must ascend, but 3ms follows 5ms",
        ],
        &[],
    );
    let warning = "histogram::explicit::buckets: is empty, so the default bounds are used";
    check(&explicit(json!([])), &[], &[warning]);
    for section in [explicit(json!([])), json!({ "histogram": { "explicit": {} } })] {
        assert_eq!(read(&section).histogram.bounds(), default_buckets());
    }
}

#[test]
fn buckets_are_either_explicit_or_exponential() {
    let both = json!({ "histogram": { "explicit": {}, "exponential": { "max_size": 1 } } });
    check(
        &both,
        &["histogram: use either explicit or exponential buckets histogram"],
        &[
            "histogram::exponential::max_size: is not from 2 to 16384, so the nearest of these is used",
        ],
    );
    let config = read(&json!({ "histogram": { "exponential": {} } }));
    assert_eq!(config.histogram.exponential.as_ref().unwrap().max_size, 160);
}

#[test]
fn words_that_the_collector_misreads_are_errors() {
    check(
        &json!({ "metrics_flush_interval": 0 }),
        &["metrics_flush_interval: must be greater than 0"],
        &[],
    );
    let (_, errors, _) = section::<SpanMetricsConfig>(
        &json!({ "aggregation_temporality": "DELTA", "metrics_expiration": "-1s" }),
        |_, _, _| {},
    );
    assert_eq!(
        errors,
        [
            "a::aggregation_temporality: expected one of AGGREGATION_TEMPORALITY_CUMULATIVE, \
             AGGREGATION_TEMPORALITY_DELTA, got a string \"DELTA\"",
            "a::metrics_expiration: \"-1s\" must not be negative",
        ]
    );
}

#[test]
fn a_key_without_effect_is_warned_of() {
    let known = "service.name, span.name, span.kind, status.code, otel.status_code, \
                 collector.instance.id";
    check(
        &json!({
            "dimensions_cache_size": 1000,
            "metric_timestamp_cache_size": 1000,
            "add_resource_attributes": true,
            "exclude_dimensions": ["span.kind", "span_kind"],
            "resource_metrics_key_attributes": ["service.name", "process.pid"],
        }),
        &[],
        &[
            &format!(
                "exclude_dimensions::1: \"span_kind\" is no default dimension and has no effect \
                 (they are {known})"
            ),
            "resource_metrics_key_attributes::1: \"process.pid\" changes with each start of a \
             process, so its series never last",
            "add_resource_attributes: has no effect, since exclude_resource_attributes is not set",
            "dimensions_cache_size: has no effect and can be removed",
            "metric_timestamp_cache_size: has no effect and can be removed",
        ],
    );
}

#[test]
fn every_key_can_change_while_it_runs() {
    let mut keys = Vec::new();
    <SpanMetricsConfig as crate::config::Fields>::keys(&mut keys);
    assert_eq!(keys, KEYS);
}
