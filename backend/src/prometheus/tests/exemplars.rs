//! OpenMetrics, and exemplars.

use opentelemetry_proto::tonic::metrics::v1::{Exemplar, exemplar};

use super::text::{J, O, S, cart};
use super::*;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
const IDS: &str = "trace_id=\"0102030405060708090a0b0c0d0e0f10\",span_id=\"0102030405060708\"";

fn exemplar(value: f64, time_unix_nano: u64) -> Exemplar {
    Exemplar {
        time_unix_nano,
        span_id: (1..=8).collect(),
        trace_id: (1..=16).collect(),
        value: Some(exemplar::Value::AsDouble(value)),
        ..Exemplar::default()
    }
}

/// The input of the Collector's examples, with an exemplar in each point.
fn cart_with_exemplars() -> ResourceMetrics {
    let mut cart = cart();
    for metric in &mut cart.scope_metrics[0].metrics {
        match metric.data.as_mut().unwrap() {
            Data::Sum(sum) => sum.data_points[0].exemplars = vec![exemplar(12.5, TIME)],
            Data::Histogram(histogram) => {
                histogram.data_points[0].exemplars = vec![exemplar(12.5, TIME)];
            }
            _ => {}
        }
    }
    cart
}

fn exposed() -> Exposed {
    Exposed::new(&PrometheusConfig { enable_open_metrics: true, ..PrometheusConfig::default() })
}

/// Example 2.
#[test]
fn open_metrics_read_as_those_of_the_collector() {
    let exposed = exposed();
    exposed.observe(vec![cart_with_exemplars()]);
    let duration = "traces_span_metrics_duration_milliseconds";
    let exemplar = format!("# {{{IDS}}} 12.5 1.7000000601230001e+09");
    let expected = format!(
        "# HELP target_info Target metadata\n\
         # TYPE target_info gauge\n\
         target_info{{{J},k8s_pod_name=\"cart-7\"}} 1.0\n\
         # HELP traces_span_metrics_calls \n\
         # TYPE traces_span_metrics_calls counter\n\
         traces_span_metrics_calls_total{{{J},{O},{S}}} 142.0 {exemplar}\n\
         # HELP {duration} \n\
         # TYPE {duration} histogram\n\
         {duration}_bucket{{{J},{O},{S},le=\"2.0\"}} 1\n\
         {duration}_bucket{{{J},{O},{S},le=\"100.0\"}} 4 {exemplar}\n\
         {duration}_bucket{{{J},{O},{S},le=\"15000.0\"}} 4\n\
         {duration}_bucket{{{J},{O},{S},le=\"+Inf\"}} 5\n\
         {duration}_sum{{{J},{O},{S}}} 20130.25\n\
         {duration}_count{{{J},{O},{S}}} 5\n\
         # EOF\n"
    );
    assert_eq!(exposed.text_for(OPEN_METRICS), expected);
    assert!(!exposed.text().contains("trace_id"), "plain text has no exemplars");
}

#[test]
fn without_open_metrics_no_exemplar_takes_room() {
    let with = exposed();
    with.observe(vec![cart_with_exemplars()]);
    let without = Exposed::new(&PrometheusConfig::default());
    without.observe(vec![cart_with_exemplars()]);
    assert!(with.held_bytes() > without.held_bytes());
    assert!(!without.text_for(OPEN_METRICS).contains("# EOF"));
    let plain = Exposed::new(&PrometheusConfig::default());
    plain.observe(vec![cart()]);
    assert_eq!(without.held_bytes(), plain.held_bytes());
}

/// Of each bucket the newest is shown, over all writers and points.
#[test]
fn a_bucket_shows_its_newest_exemplar() {
    let exposed = Exposed::new(&PrometheusConfig { enable_open_metrics: true, ..short() });
    let observe = |pod, time_ns, exemplars| {
        let mut duration = histogram(CUMULATIVE, &[2.0, 100.0], &[1, 3, 1], 9.0);
        duration.point.time_unix_nano = time_ns;
        duration.point.exemplars = exemplars;
        exposed.observe(vec![entry(&[("pod", pod)], vec![metric("d", "", duration.into())])]);
    };
    observe("1", TIME, vec![exemplar(1.0, START), exemplar(7.0, START), exemplar(8.0, START + 1)]);
    observe("1", TIME + 1, vec![exemplar(200.0, START)]);
    observe("2", TIME, vec![exemplar(1.5, START + 2), exemplar(300.0, START - 1)]);
    let shown: Vec<_> = samples(&exposed.text_for(OPEN_METRICS))
        .iter()
        .filter_map(|line| Some(line.split_once(&format!("{IDS}}} "))?.1.to_owned()))
        .collect();
    assert_eq!(shown, ["1.5 1.7e+09", "8.0 1.7e+09", "200.0 1.7e+09"]);
}
