"""A backend writes to a real Prometheus by remote write."""

import json
import subprocess
import time
import types
import urllib.parse
import urllib.request

import pytest

import testbed

HOST, ADDRESS = "127.77.2.1", "127.77.2.2:9090"
TRACE = "0102030405060708090a0b0c0d0e0f10"
FLAG_NO_RECORDED_VALUE = 1
CUMULATIVE = 2


def config(**exporter):
    """A backend that hands on metrics."""
    exporter = {
        "endpoint": f"http://{ADDRESS}/api/v1/write",
        "external_labels": {"cluster": "interop"},
        **exporter,
    }
    reader = {"pull": {"exporter": {"prometheus": {"host": HOST, "port": 8888}}}}
    return {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{HOST}:4318"}}}},
        "exporters": {"prometheus_remote_write": exporter},
        "extensions": {"health_check": {"endpoint": f"{HOST}:13133"}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {
                "metrics": {"receivers": ["otlp"], "exporters": ["prometheus_remote_write"]}
            },
            "telemetry": {"metrics": {"readers": [reader]}},
        },
    }


def start_backend(directory, **exporter):
    path = directory / "backend.json"
    path.write_text(json.dumps(config(**exporter)))
    log = directory / "backend.log"
    backend = testbed.Process(log, testbed.BINARIES / "backend", "--config", path)
    testbed.until(f"the backend is healthy (see {log})", lambda: testbed.fetch(f"http://{HOST}:13133/"))
    return backend


@pytest.fixture
def prometheus(tmp_path):
    """A Prometheus that others write to."""
    (tmp_path / "prometheus.yaml").write_text("{}")
    process = testbed.Process(
        tmp_path / "prometheus.log",
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={ADDRESS}",
        "--web.enable-remote-write-receiver",
        "--enable-feature=native-histograms,exemplar-storage",
    )
    testbed.until("prometheus is ready", lambda: testbed.fetch(f"http://{ADDRESS}/-/ready"))
    yield types.SimpleNamespace(directory=tmp_path)
    assert process.stop() == 0


def api(path, **parameters):
    answer = json.loads(
        testbed.fetch(f"http://{ADDRESS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
    )
    assert answer["status"] == "success", answer
    return answer["data"]


def query(expression):
    """Rows of an instant query: labels, and the value."""
    rows = api("query", query=expression)["result"]
    return [(row["metric"], float(row["value"][1])) for row in rows]


def value(expression):
    """The value of the one row."""
    rows = query(expression)
    return rows[0][1] if len(rows) == 1 else None


def attributes(**pairs):
    return [{"key": key.replace("_", "."), "value": {"stringValue": text}} for key, text in pairs.items()]


def push(metrics):
    """Sends metrics of one service by OTLP/HTTP, as JSON."""
    resource = attributes(service_name="cart", service_instance_id="i-1", k8s_pod_name="cart-7")
    request = {
        "resourceMetrics": [
            {
                "resource": {"attributes": resource},
                "scopeMetrics": [{"scope": {"name": "interop"}, "metrics": metrics}],
            }
        ]
    }
    request = urllib.request.Request(
        f"http://{HOST}:4318/v1/metrics",
        data=json.dumps(request).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.status == 200


def metrics(calls, now, flags=0):
    """One metric of each kind; `calls` is what the counter says."""
    start, now = str(now - 60_000_000_000), str(now)
    point = {"startTimeUnixNano": start, "timeUnixNano": now}
    exemplar = {"timeUnixNano": now, "asDouble": 0.5, "traceId": TRACE, "spanId": "01" * 8}
    return [
        {
            "name": "http.calls",
            "description": "Calls that were answered",
            "sum": {
                "isMonotonic": True,
                "aggregationTemporality": CUMULATIVE,
                "dataPoints": [{**point, "asInt": str(calls), "exemplars": [exemplar]}],
            },
        },
        {
            "name": "http.duration",
            "unit": "s",
            "histogram": {
                "aggregationTemporality": CUMULATIVE,
                "dataPoints": [
                    {
                        **point,
                        "count": "10",
                        "sum": 4.5,
                        "explicitBounds": [0.1, 1],
                        "bucketCounts": ["4", "5", "1"],
                    }
                ],
            },
        },
        {
            "name": "http.size",
            "unit": "By",
            "exponentialHistogram": {
                "aggregationTemporality": CUMULATIVE,
                "dataPoints": [
                    {
                        **point,
                        "count": "7",
                        "sum": 20,
                        "scale": 10,
                        "zeroCount": "1",
                        # Values in (2, 2 · 2^(6 / 1024)].
                        "positive": {"offset": 1024, "bucketCounts": ["1"] * 6},
                    }
                ],
            },
        },
        {"name": "depth", "gauge": {"dataPoints": [{**point, "asDouble": 3, "flags": flags}]}},
    ]


def test_what_was_sent_is_found_by_promql(prometheus):
    backend = start_backend(prometheus.directory)
    begin = time.time_ns()
    push(metrics(5, begin - 1_000_000_000))
    push(metrics(12, begin))
    own = 'job="cart",instance="i-1",cluster="interop",otel_scope_name="interop"'
    testbed.until("the counter arrives", lambda: value(f"http_calls_total{{{own}}}") == 12)
    assert value("count_over_time(http_calls_total[1m])") == 2
    buckets = {labels["le"]: count for labels, count in query("http_duration_seconds_bucket")}
    assert buckets == {"0.1": 4, "1": 9, "+Inf": 10}
    assert value("http_duration_seconds_sum / http_duration_seconds_count") == 0.45
    assert value("histogram_count(http_size_bytes)") == 7
    assert value("histogram_sum(http_size_bytes)") == 20
    assert 2 <= value("histogram_quantile(0.9, http_size_bytes)") <= 2.01
    assert value("depth") == 3
    joined = query("http_calls_total * on (job, instance) group_left (k8s_pod_name) target_info")
    assert [(labels["k8s_pod_name"], count) for labels, count in joined] == [("cart-7", 12)]
    now = time.time()
    found = api("query_exemplars", query="http_calls_total", start=now - 60, end=now + 60)
    assert {exemplar["labels"]["trace_id"] for exemplar in found[0]["exemplars"]} == {TRACE}

    push(metrics(13, begin + 1_000_000_000, FLAG_NO_RECORDED_VALUE))
    testbed.until("the gauge ends", lambda: query("depth") == [])
    assert value("http_calls_total") == 13
    assert backend.stop() == 0


def test_what_could_not_be_delivered_is_sent_by_the_next_process(prometheus):
    """Killed while its receiver is away, with a write-ahead log."""
    wal = {"directory": str(prometheus.directory / "wal")}
    # Nobody is there.
    backend = start_backend(prometheus.directory, wal=wal, endpoint="http://127.77.2.3:1/")
    begin = time.time_ns()
    for step in range(3):
        push(metrics(5 + step, begin + step * 1_000_000))
    backend.child.kill()
    backend.child.wait()
    backend = start_backend(prometheus.directory, wal=wal)
    testbed.until("the last value arrives", lambda: value("http_calls_total") == 7)
    assert value("count_over_time(http_calls_total[1m])") == 3
    assert backend.stop() == 0


def speaks_version_2():
    text = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    version = (text.stdout + text.stderr).split("version ")[1].split(".")
    return (int(version[0]), int(version[1])) >= (2, 54)


def test_version_2_arrives_or_is_found_out(prometheus):
    """A Prometheus that does not know Remote-Write 2.0 takes it, answers with success and writes
    nothing."""
    backend = start_backend(
        prometheus.directory, protobuf_message="io.prometheus.write.v2.Request"
    )
    push(metrics(5, time.time_ns()))
    if speaks_version_2():
        testbed.until("the counter arrives", lambda: value("http_calls_total") == 5)
        assert value("histogram_count(http_size_bytes)") == 7
        assert backend.stop() == 0
        return
    lost = 'dropped_metric_points{exporter="prometheus_remote_write",reason="rejected"} 4'
    page = f"http://{HOST}:8888/metrics"
    testbed.until("all data points are counted as lost", lambda: lost in testbed.fetch(page))
    assert query("http_calls_total") == []
    backend.stop()
    assert "so it does not speak Remote-Write 2.0" in (prometheus.directory / "backend.log").read_text()
