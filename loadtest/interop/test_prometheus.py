"""A real Prometheus scrapes both tiers; promtool reads every page."""

import collections
import json
import subprocess
import urllib.parse

import pytest

import conftest
import testbed
import traffic

ADDRESS = "127.77.0.5:9090"


@pytest.fixture(scope="module")
def prometheus(tiers):
    """Prometheus, scraping every page each second."""
    pages = [f"{conftest.EDGE}:8888", f"{conftest.BACKEND}:8888", f"{conftest.BACKEND}:8889"]
    config = tiers.directory / "prometheus.yaml"
    scrape = {"job_name": "tailrace", "honor_labels": True, "static_configs": [{"targets": pages}]}
    config.write_text(
        json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]})
    )
    process = testbed.Process(
        tiers.directory / "prometheus.log",
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tiers.directory / 'tsdb'}",
        f"--web.listen-address={ADDRESS}",
    )
    testbed.until("prometheus is ready", lambda: testbed.fetch(f"http://{ADDRESS}/-/ready"))
    yield ADDRESS
    assert process.stop() == 0


def query(expression):
    """Rows of an instant PromQL query: labels without the name, and the value."""
    url = f"http://{ADDRESS}/api/v1/query?query={urllib.parse.quote(expression)}"
    answer = json.loads(testbed.fetch(url))
    assert answer["status"] == "success", answer
    return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]


def test_calls_by_promql_are_what_was_sent(tiers, prometheus):
    expected = sum((sent.calls for sent in tiers.sent), collections.Counter())

    def counted():
        by = "service_name, span_name, span_kind, status_code"
        rows = query(f"sum by ({by}) (traces_span_metrics_calls_total)")
        return {
            (
                labels["service_name"],
                labels["span_name"],
                labels["span_kind"].removeprefix("SPAN_KIND_"),
                labels["status_code"].removeprefix("STATUS_CODE_"),
            ): value
            for labels, value in rows
        }

    testbed.until("the calls add up", lambda: counted() == dict(expected))


def test_durations_by_promql_count_every_call(tiers, prometheus):
    total = sum(sum(sent.calls.values()) for sent in tiers.sent)

    def counted():
        rows = query('sum (traces_span_metrics_duration_milliseconds_bucket{le="+Inf"})')
        return rows and rows[0][1] == total

    testbed.until("the durations add up", counted)
    quantile = "histogram_quantile(0.9, sum by (le) (traces_span_metrics_duration_milliseconds_bucket))"
    assert query(quantile)[0][1] > 0


def test_every_span_is_accounted_for(tiers, prometheus):
    total = sum(sum(sent.calls.values()) for sent in tiers.sent)
    testbed.until(
        "the edge accepted and sent every span",
        lambda: [value for _, value in query("sum(otelcol_receiver_accepted_spans) by (instance)")]
        == [total, total],
    )


# What promtool finds odd about names that are the Collector's and must stay.
KNOWN = [
    'counter metrics should have "_total" suffix',
    'use base unit "seconds" instead of "milliseconds"',
    # …_sampling_policy_execution_count and …_time_sum, two counters.
    'non-histogram and non-summary metrics should not have "_count" suffix',
    'non-histogram and non-summary metrics should not have "_sum" suffix',
]


def promtool(page):
    """Exit code and complaints of `promtool check metrics`; 3 is: reads well, odd style."""
    run = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True)
    return run.returncode, run.stderr.splitlines() + run.stdout.splitlines()


@pytest.mark.parametrize(
    "page", [f"{conftest.EDGE}:8888", f"{conftest.BACKEND}:8888", f"{conftest.BACKEND}:8889"]
)
def test_promtool_reads_every_page(tiers, page):
    code, complaints = promtool(testbed.fetch(f"http://{page}/metrics"))
    assert code in (0, 3), complaints
    unknown = [line for line in complaints if not any(known in line for known in KNOWN)]
    assert unknown == []


# Their units are the Collector's, and no switch changes them.
NOT_SECONDS = (
    "otelcol_loadbalancer_backend_latency_milliseconds",
    "otelcol_processor_tail_sampling_sampling_decision_timer_latency_milliseconds",
    "otelcol_processor_tail_sampling_sampling_policy_execution_time_sum_microseconds_total",
)


def test_promtool_passes_with_suffixes_and_seconds(tmp_path):
    """With the Collector's own switches for Prometheus names, promtool finds nothing but
    units that are the Collector's."""
    prometheus = "{host: 127.77.1.%d, port: 8888, without_type_suffix: false, without_units: false}"
    readers = "service.telemetry.metrics.readers=[{pull: {exporter: {prometheus: %s}}}]" % prometheus
    sets = {
        "edge": [readers % 1],
        "backend": [readers % 2, "connectors.spanmetrics.histogram.unit=s"],
    }
    dns = testbed.Dns("127.77.1.3", ["127.77.1.2"])
    destination = testbed.Destination("127.77.1.4")
    edge, backend = conftest.start(tmp_path, dns, destination, "127.77.1.1", "127.77.1.2", sets)
    try:
        sent = traffic.by_grpc(edge.host)
        span_metrics = f"http://{backend.host}:8889/metrics"
        testbed.until(
            "span metrics are out",
            lambda: f'service_name="{next(iter(sent.calls))[0]}"' in testbed.fetch(span_metrics),
        )
        for page in (edge.metrics, backend.metrics, span_metrics):
            _, complaints = promtool(testbed.fetch(page))
            assert [line for line in complaints if not line.startswith(NOT_SECONDS)] == [], page
    finally:
        codes = [edge.stop(), backend.stop()]
        dns.server.stop()
        destination.server.stop(0)
    assert codes == [0, 0]
