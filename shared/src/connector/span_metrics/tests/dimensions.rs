//! Where dimensions come from: patterns, scopes, sampling, names by convention.

use super::*;
use crate::connector::span_metrics::config::{
    EventsConfig, ResourceIdentity, SpanName, StatusAttribute,
};

/// The series of `calls` that one batch makes.
#[track_caller]
fn check(config: &SpanMetricsConfig, entries: Vec<trace_v1::ResourceSpans>, expected: &[&str]) {
    let mut config = config.clone();
    config.histogram.disable = true;
    let aggregator = aggregator(&config);
    aggregator.observe(&batch(entries), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    let found: Vec<String> =
        points.iter().map(|(series, point)| format!("{series} {}", point.count)).collect();
    assert_eq!(found, expected);
}

fn with(attributes: Vec<KeyValue>) -> trace_v1::Span {
    trace_v1::Span { attributes, ..span("x", 1) }
}

#[test]
fn a_pattern_takes_what_the_span_has_and_else_the_resource() {
    let mut config = bare(&["z"]);
    config.dimensions.push(glob("http.*"));
    let resource =
        vec![text("service.name", "s"), text("http.b", "resource"), text("http.c", "resource")];
    let span = with(vec![
        text("http.b", "span"),
        text("z", "1"),
        attribute("http.a", Value::IntValue(7)),
        text("http.request.method", "GET"),
        text("http.b", "again"),
    ]);
    check(
        &config,
        vec![entry(resource, vec![span])],
        &["calls{service.name=s,span.name=x,http.a=int 7,http.b=span,http.c=resource,z=1} 1"],
    );
}

#[test]
fn where_an_attribute_stands_makes_no_other_series() {
    let mut config = bare(&[]);
    config.dimensions.push(glob("k.*"));
    let of_span = entry(
        vec![text("service.name", "s")],
        vec![with(vec![text("k.b", "1"), text("k.a", "1")])],
    );
    let of_both = entry(
        vec![text("service.name", "s"), text("k.b", "1")],
        vec![with(vec![text("k.a", "1")])],
    );
    // Two resources, so two series, but with equal attributes.
    let series = "calls{service.name=s,span.name=x,k.a=1,k.b=1} 1";
    check(&config, vec![of_span.clone()], &[series]);
    check(&config, vec![of_both], &[series]);
}

#[test]
fn a_pattern_of_one_metric_is_not_in_the_others() {
    let mut config = bare(&[]);
    config.calls_dimensions.push(glob("http.**"));
    config.histogram.dimensions.push(dimension("http.a", None));
    let aggregator = aggregator(&config);
    let span = with(vec![text("http.a", "1"), text("http.b.c", "2")]);
    aggregator.observe(&batch(vec![service("s", vec![span])]), BEGIN);
    assert_eq!(
        counts(&collect(&aggregator, BEGIN + SECOND)),
        [
            ("calls{service.name=s,span.name=x,http.a=1,http.b.c=2}", 1),
            ("duration{service.name=s,span.name=x,http.a=1}", 1),
        ]
    );
}

#[test]
fn a_name_that_a_pattern_of_another_list_matches_is_written_once() {
    let mut config = bare(&["http.a"]);
    config.calls_dimensions.extend([glob("http.*"), dimension("http.a", Some("x"))]);
    let span = with(vec![text("http.a", "1"), text("http.b", "2")]);
    check(
        &config,
        vec![service("s", vec![span, with(Vec::new())])],
        &[
            "calls{service.name=s,span.name=x,http.b=2,http.a=1} 1",
            "calls{service.name=s,span.name=x} 1",
        ],
    );
}

#[test]
fn the_name_and_version_of_listed_scopes_tell_series_apart() {
    let mut config = bare(&[]);
    config.include_instrumentation_scope = vec!["lib".to_owned(), String::new()];
    let scope = |name: &str, version: &str| trace_v1::ScopeSpans {
        scope: Some(opentelemetry_proto::tonic::common::v1::InstrumentationScope {
            name: name.to_owned(),
            version: version.to_owned(),
            ..Default::default()
        }),
        spans: vec![span("x", 1)],
        ..trace_v1::ScopeSpans::default()
    };
    let mut entry = service("s", Vec::new());
    entry.scope_spans =
        vec![scope("lib", "1"), scope("lib", "2"), scope("lib", ""), scope("other", "1")];
    entry.scope_spans.push(scope("", "1"));
    let labels = "span.instrumentation.scope.name=lib";
    check(
        &config,
        vec![entry],
        &[
            &format!(
                "calls{{service.name=s,span.name=x,{labels},span.instrumentation.scope.version=1}} 1"
            ),
            &format!(
                "calls{{service.name=s,span.name=x,{labels},span.instrumentation.scope.version=2}} 1"
            ),
            &format!("calls{{service.name=s,span.name=x,{labels}}} 1"),
            "calls{service.name=s,span.name=x} 2",
        ],
    );
}

#[test]
fn thresholds_weigh_spans_and_the_sampling_method_tells_which() {
    let sampled =
        |trace_state: &str| trace_v1::Span { trace_state: trace_state.to_owned(), ..span("x", 10) };
    let spans = vec![sampled("ot=th:c"), sampled("ot=th:8"), sampled(""), sampled("ot=broken")];
    check(&bare(&[]), vec![service("s", spans.clone())], &["calls{service.name=s,span.name=x} 8"]);
    let mut config = bare(&[]);
    config.enable_metrics_sampling_method = true;
    check(
        &config,
        vec![service("s", spans.clone())],
        &[
            "calls{service.name=s,span.name=x,sampling.method=counted} 2",
            "calls{service.name=s,span.name=x,sampling.method=extrapolated} 6",
        ],
    );
    let aggregator = aggregator(&bare(&[]));
    aggregator.observe(&batch(vec![service("s", spans)]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    let duration = &points["duration{service.name=s,span.name=x}"];
    assert_eq!((duration.count, duration.sum, duration.buckets[4]), (8, 80.0, 8));
}

#[test]
fn a_status_may_be_told_as_prometheus_users_know_it() {
    let mut config = bare(&[]);
    config.exclude_dimensions.retain(|name| name != "status.code");
    config.status_attribute = StatusAttribute::OtelStatusCode;
    let status = |code| trace_v1::Span {
        status: Some(trace_v1::Status { code, ..trace_v1::Status::default() }),
        ..span("x", 1)
    };
    check(
        &config,
        vec![service("s", vec![status(0), status(1), status(2), span("x", 1)])],
        &[
            "calls{service.name=s,span.name=x,otel.status_code=ERROR} 1",
            "calls{service.name=s,span.name=x,otel.status_code=OK} 1",
            "calls{service.name=s,span.name=x} 2",
        ],
    );
    config.exclude_dimensions.push("otel.status_code".to_owned());
    let entry = service("s", vec![status(1), status(2)]);
    check(&config, vec![entry], &["calls{service.name=s,span.name=x} 2"]);
}

#[test]
fn names_by_convention_do_away_with_ids() {
    let mut config = bare(&[]);
    config.span_name = SpanName::SemanticConventions;
    let get = |id: u8| trace_v1::Span {
        kind: 2,
        attributes: vec![text("http.request.method", "GET"), text("http.route", "/a/{id}")],
        ..span(&format!("GET /a/{id}"), 1)
    };
    check(
        &config,
        vec![service("s", vec![get(1), get(2), span("its own", 1)])],
        &[
            "calls{service.name=s,span.name=GET /a/{id}} 2",
            "calls{service.name=s,span.name=its own} 1",
        ],
    );
}

#[test]
fn events_are_counted_by_the_spans_attributes_then_theirs_then_the_resources() {
    let mut config = bare(&["a"]);
    config.events = EventsConfig {
        enabled: true,
        dimensions: vec![dimension("b", None), dimension("c", Some("none")), glob("k.*")],
    };
    let event = |attributes| trace_v1::span::Event { attributes, ..Default::default() };
    let span = trace_v1::Span {
        attributes: vec![text("a", "span"), text("k.1", "span")],
        events: vec![
            event(vec![text("a", "event"), text("b", "event"), text("k.1", "event")]),
            event(vec![text("k.2", "event")]),
            event(vec![text("k.2", "event")]),
        ],
        ..span("x", 1)
    };
    let resource = vec![text("service.name", "s"), text("b", "resource"), text("k.2", "resource")];
    let labels = "service.name=s,span.name=x";
    check(
        &config,
        vec![entry(resource, vec![span])],
        &[
            &format!("calls{{{labels},a=span}} 1"),
            &format!("events{{{labels},k.1=span,k.2=event,a=span,b=resource,c=none}} 2"),
            &format!("events{{{labels},k.1=span,k.2=resource,a=span,b=event,c=none}} 1"),
        ],
    );
}

#[test]
fn the_instance_can_be_left_out() {
    let mut config = bare(&[]);
    config.exclude_dimensions.retain(|name| name != "collector.instance.id");
    let entries = || vec![service("s", vec![span("x", 1)])];
    let labels = "service.name=s,span.name=x";
    let with_instance = format!("calls{{{labels},collector.instance.id=backend-0}} 1");
    check(&config, entries(), &[&with_instance]);
    config.include_collector_instance_id = false;
    check(&config, entries(), &[&format!("calls{{{labels}}} 1")]);
}

#[test]
fn overflow_of_two_backends_does_not_collide() {
    let mut config = bare(&[]);
    config.exclude_dimensions.retain(|name| name != "collector.instance.id");
    config.max_series = 1;
    check(
        &config,
        vec![service("s", vec![span("x", 1), span("y", 1)])],
        &[
            "calls{otel.metric.overflow=bool true,collector.instance.id=backend-0} 1",
            "calls{service.name=s,span.name=x,collector.instance.id=backend-0} 1",
        ],
    );
}

/// The attributes of the resources that are handed on.
fn resources(config: &SpanMetricsConfig, entries: Vec<trace_v1::ResourceSpans>) -> Vec<String> {
    let aggregator = aggregator(config);
    aggregator.observe(&batch(entries), BEGIN);
    let mut found = Vec::new();
    for batch in flush(&aggregator, BEGIN + SECOND).batches {
        let request = ExportMetricsServiceRequest::decode(batch.bytes().clone()).unwrap();
        let resources = request.resource_metrics.into_iter();
        found.extend(resources.map(|entry| labels(&entry.resource.unwrap().attributes)));
    }
    found
}

#[test]
fn what_changes_with_each_start_may_not_count() {
    let entries = || {
        let pod = |name: &str, pid| {
            let mut attributes = vec![text("service.name", "s"), text("k8s.deployment.name", "d")];
            attributes.extend([text("k8s.pod.name", name), attribute("process.pid", pid)]);
            attributes.push(text("process.runtime.name", "go"));
            entry(attributes, vec![span("x", 1)])
        };
        vec![pod("p-1", Value::IntValue(1)), pod("p-2", Value::IntValue(2))]
    };
    let mut config = bare(&[]);
    assert_eq!(resources(&config, entries()).len(), 2);
    config.resource_identity = ResourceIdentity::Lasting;
    assert_eq!(
        resources(&config, entries()),
        ["{service.name=s,k8s.deployment.name=d,process.runtime.name=go}"]
    );
    check(&config, entries(), &["calls{service.name=s,span.name=x} 2"]);
}

#[test]
fn without_resource_attributes_a_service_is_one_resource() {
    let entries = || {
        let host = |name| {
            entry(vec![text("service.name", "s"), text("host.name", name)], vec![span("x", 1)])
        };
        vec![host("a"), host("b")]
    };
    let mut config = bare(&["host.name"]);
    config.exclude_resource_attributes = true;
    assert_eq!(resources(&config, entries()), ["{}"]);
    check(
        &config,
        entries(),
        &[
            "calls{service.name=s,span.name=x,host.name=a} 1",
            "calls{service.name=s,span.name=x,host.name=b} 1",
        ],
    );
    config.add_resource_attributes = true;
    assert_eq!(resources(&config, entries()).len(), 2);
}
