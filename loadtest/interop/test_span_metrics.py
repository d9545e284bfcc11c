"""Span metrics of two backends in a real Prometheus, by scraping and by remote write."""

import collections
import json
import time
import types
import urllib.parse

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode, set_span_in_context

import testbed

EDGE, DNS, DESTINATION, PROMETHEUS = "127.77.2.1", "127.77.2.6", "127.77.2.4", "127.77.2.5:9090"
BACKENDS = {"backend-0": "127.77.2.2", "backend-1": "127.77.2.3"}
CALLS = "traces_span_metrics_calls_total"
BUCKETS = "traces_span_metrics_duration_milliseconds_bucket"
BOUNDS = [5, 10, 50, 100, 500]
MILLISECOND = 1_000_000


def backend_config(directory, name, host):
    """Tail sampling beside span metrics, which are scraped and written to Prometheus."""
    spans = {"receivers": ["otlp"]}
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"{host}:4317"}}}},
        "processors": {
            "tail_sampling": {
                "decision_wait": "1s",
                "policies": [
                    {
                        "name": "errors",
                        "type": "status_code",
                        "status_code": {"status_codes": ["ERROR"]},
                    }
                ],
            }
        },
        "connectors": {
            "span_metrics": {
                "metrics_flush_interval": "1s",
                "histogram": {"explicit": {"buckets": [f"{bound}ms" for bound in BOUNDS]}},
                "exemplars": {"enabled": True, "sampled_only": True},
            }
        },
        "exporters": {
            "otlp_grpc": {"endpoint": f"{DESTINATION}:4317", "tls": {"insecure": True}},
            "prometheus": {"endpoint": f"{host}:8889", "enable_open_metrics": True},
            "prometheus_remote_write": {
                "endpoint": f"http://{PROMETHEUS}/api/v1/write",
                "external_labels": {"via": "remote_write", "backend": name},
            },
        },
        "extensions": {"health_check": {"endpoint": f"{host}:13133"}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {
                "resource": {"service.instance.id": name},
                "metrics": {
                    "readers": [
                        {"pull": {"exporter": {"prometheus": {"host": host, "port": 8888}}}}
                    ]
                },
            },
            "pipelines": {
                "traces/sampling": {
                    **spans,
                    "processors": ["tail_sampling"],
                    "exporters": ["otlp_grpc"],
                },
                "traces/metrics": {**spans, "exporters": ["span_metrics"]},
                "metrics": {
                    "receivers": ["span_metrics"],
                    "exporters": ["prometheus", "prometheus_remote_write"],
                },
            },
        },
    }
    path = directory / f"{name}.yaml"
    path.write_text(json.dumps(config))
    return path


def start_prometheus(directory):
    scrape = {
        "job_name": "backends",
        "static_configs": [
            {"targets": [f"{host}:8889"], "labels": {"via": "scrape", "backend": name}}
            for name, host in BACKENDS.items()
        ],
    }
    config = directory / "prometheus.yaml"
    config.write_text(
        json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]})
    )
    process = testbed.Process(
        directory / "prometheus.log",
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={PROMETHEUS}",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
    )
    testbed.until("prometheus is ready", lambda: testbed.fetch(f"http://{PROMETHEUS}/-/ready"))
    return process


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An edge that routes by trace id, two backends, a destination and Prometheus."""
    directory = tmp_path_factory.mktemp("span-metrics")
    dns = testbed.Dns(DNS, list(BACKENDS.values()))
    destination = testbed.Destination(DESTINATION)
    prometheus = start_prometheus(directory)

    def start(name):
        host = BACKENDS[name]
        return testbed.Tier(
            directory, "backend", host, {}, config=backend_config(directory, name, host)
        )

    backends = {name: start(name) for name in BACKENDS}
    env = {"TAILRACE_BACKEND": testbed.NAME, "TAILRACE_NAMESERVERS": f"['{dns.endpoint}']"}
    edge = testbed.Tier(directory, "edge", EDGE, env)
    world = types.SimpleNamespace(
        sent=Sent(), destination=destination, backends=backends, start=start
    )
    world.sent.make(120)
    yield world
    codes = [edge.stop(), *(backend.stop() for backend in world.backends.values())]
    codes.append(prometheus.stop())
    dns.server.stop()
    destination.server.stop(0)
    assert codes == [0] * len(codes), f"exit codes after SIGTERM: {codes}, logs in {directory}"


class Sent:
    """What was sent, as a real SDK sent it: durations in whole milliseconds."""

    def __init__(self):
        self.calls = collections.Counter()  # (service, span name, status)
        self.durations = collections.defaultdict(list)  # milliseconds by span name
        self.failed = set()  # trace ids
        self.number = 0

    def make(self, traces):
        services = {"cart": "GET /cart", "pay": "charge"}
        providers = {service: self.provider(service) for service in services}
        for _ in range(traces):
            self.number += 1
            parent = None
            for step, (service, name) in enumerate(services.items()):
                span = self.span(providers[service], name, step, parent)
                parent = parent or set_span_in_context(span)
        for provider in providers.values():
            assert provider.force_flush(30_000), "the SDK could not deliver its spans"
            provider.shutdown()

    @staticmethod
    def provider(service):
        attributes = {
            "service.name": service,
            "service.instance.id": f"{service}-0",
            "team": f"team-{service}",
        }
        provider = TracerProvider(resource=Resource(attributes))
        exporter = OTLPSpanExporter(endpoint=f"http://{EDGE}:4317", insecure=True)
        provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=16))
        return provider

    def span(self, provider, name, step, parent):
        service = provider.resource.attributes["service.name"]
        milliseconds = self.number * 7 % 120 + 3 * step
        fails = step == 1 and self.number % 6 == 0
        begin = time.time_ns()
        span = provider.get_tracer("interop").start_span(name, context=parent, start_time=begin)
        if fails:
            span.set_status(Status(StatusCode.ERROR))
            self.failed.add(span.get_span_context().trace_id.to_bytes(16, "big"))
        span.end(end_time=begin + milliseconds * MILLISECOND)
        self.calls[service, name, "ERROR" if fails else "UNSET"] += 1
        self.durations[name].append(milliseconds)
        return span

    def quantile(self, name, share):
        """What histogram_quantile makes of these durations in these buckets."""
        durations = self.durations[name]
        rank = share * len(durations)
        below = 0
        for low, high in zip([0, *BOUNDS], BOUNDS):
            inside = sum(low < duration <= high for duration in durations)
            inside += low == 0 and durations.count(0)
            if below + inside >= rank:
                return low + (high - low) * (rank - below) / inside
            below += inside
        return BOUNDS[-1]


def ask(path, **parameters):
    url = f"http://{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    answer = json.loads(testbed.fetch(url))
    assert answer["status"] == "success", answer
    return answer["data"]


def query(expression, **parameters):
    """Rows of an instant PromQL query: labels without the name, and the value."""
    rows = ask("query", query=expression, **parameters)["result"]
    return [(row["metric"], float(row["value"][1])) for row in rows]


def calls(selector):
    rows = query(f"sum by (service_name, span_name, status_code) ({CALLS}{{{selector}}})")
    return {
        (
            labels["service_name"],
            labels["span_name"],
            labels["status_code"].removeprefix("STATUS_CODE_"),
        ): value
        for labels, value in rows
    }


def milliseconds():
    """Now, as Prometheus counts time."""
    return time.time_ns() // MILLISECOND


def samples(selector, window, at):
    """The samples that PromQL has of each series in the window that ends then; milliseconds."""
    rows = ask("query", query=f"{selector}[{window}ms]", time=at / 1000)["result"]
    return [
        (row["metric"], [(round(time * 1000), float(value)) for time, value in row["values"]])
        for row in rows
    ]


def delta(points):
    """What a counter counted between its first sample and its last, resets included."""
    values = [value for _, value in points]
    steps = zip(values, values[1:])
    return sum(after if after < before else after - before for before, after in steps)


def extrapolated(points, window, at):
    """What increase() makes of these samples: delta(), reckoned on to the ends of the window.

    Source: prometheus promql/functions.go, extrapolatedRate."""
    (first, value), (last, _) = points[0], points[-1]
    counted, sampled = delta(points), last - first
    between = sampled / (len(points) - 1)
    to_start, to_end = first - (at - window), at - last
    if counted > 0:
        # A counter cannot have been below zero.
        to_start = min(to_start, sampled * value / counted)
    add = sum(gap if gap < between * 1.1 else between / 2 for gap in (to_start, to_end))
    return counted * (sampled + add) / sampled


def by_calls(rows):
    """Sums by what calls() tells apart."""
    sums = collections.Counter()
    for labels, value in rows:
        status = labels["status_code"].removeprefix("STATUS_CODE_")
        sums[labels["service_name"], labels["span_name"], status] += value
    return dict(sums)


def close(sums):
    """These sums, but for the rounding of floating-point numbers."""
    return {key: pytest.approx(value, rel=1e-9) for key, value in sums.items()}


WAYS = ["scrape", "remote_write"]


@pytest.mark.parametrize("via", WAYS)
def test_the_sum_over_both_backends_is_what_was_sent(world, via):
    selector = f'via="{via}"'
    testbed.until("the calls add up", lambda: calls(selector) == dict(world.sent.calls))
    writers = query(f"count by (collector_instance_id) ({CALLS}{{{selector}}})")
    assert {labels["collector_instance_id"] for labels, _ in writers} == set(BACKENDS)


@pytest.mark.parametrize("via", WAYS)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_quantiles_are_those_of_the_generator(world, via, share):
    selector = f'via="{via}"'
    testbed.until("the calls add up", lambda: calls(selector) == dict(world.sent.calls))
    expression = f"sum by (le, span_name) ({BUCKETS}{{{selector}}})"

    def found():
        rows = query(f"histogram_quantile({share}, {expression})")
        return {labels["span_name"]: value for labels, value in rows}

    expected = {name: pytest.approx(world.sent.quantile(name, share)) for name in world.sent.durations}
    testbed.until("the quantiles are right", lambda: found() == expected)


@pytest.mark.parametrize("via", WAYS)
def test_target_info_joins(world, via):
    job = "exported_job, exported_instance" if via == "scrape" else "job, instance"
    selector = f'via="{via}"'
    expected = collections.Counter()
    for (service, _, _), count in world.sent.calls.items():
        expected[f"team-{service}"] += count

    def found():
        rows = query(
            f"sum by (team) ({CALLS}{{{selector}}} * on ({job}, backend) "
            f"group_left (team) target_info{{{selector}}})"
        )
        return {labels["team"]: value for labels, value in rows}

    testbed.until("every call has its team", lambda: found() == dict(expected))


def test_exemplars_lead_to_traces_that_were_kept(world):
    def found():
        rows = ask("query_exemplars", query=CALLS, start=time.time() - 600, end=time.time() + 600)
        return {
            bytes.fromhex(exemplar["labels"]["trace_id"])
            for row in rows
            for exemplar in row["exemplars"]
        }

    exemplars = testbed.until("there are exemplars", found)
    kept = set(world.destination.traces())
    assert exemplars <= kept and kept == world.sent.failed


def test_rates_are_those_of_the_generator(world):
    """Between two moments at which Prometheus has everything that was sent."""

    def wait():
        for via in WAYS:
            selector = f'via="{via}"'
            testbed.until("the calls add up", lambda: calls(selector) == dict(world.sent.calls))
        begin = milliseconds()
        # So that every series has a sample of these values behind this moment.
        time.sleep(2)
        return collections.Counter(world.sent.calls), begin

    sent_before, begin = wait()
    world.sent.make(120)
    sent, _ = wait()
    end = milliseconds()
    window = end - begin
    for via in WAYS:
        selector = f'{CALLS}{{via="{via}"}}'
        found = samples(selector, window, end)
        # What was counted between the samples is what was sent, to the last call,
        counted = by_calls((labels, delta(points)) for labels, points in found)
        assert counted == dict(sent - sent_before), via
        # and PromQL's functions make of it what they make of any counter.
        increase = by_calls(
            (labels, extrapolated(points, window, end)) for labels, points in found
        )
        rows = query(f"increase({selector}[{window}ms])", time=end / 1000)
        assert by_calls(rows) == close(increase), via
        rate = {key: value * 1000 / window for key, value in increase.items()}
        rows = query(f"rate({selector}[{window}ms])", time=end / 1000)
        assert by_calls(rows) == close(rate), via


def test_a_restart_makes_no_spike_and_no_duplicate_series(world):
    """Last, because the counters of a backend begin anew."""
    testbed.until("the calls add up", lambda: calls('via="scrape"') == dict(world.sent.calls))
    series = f'{CALLS}{{via="%s"}}'
    before = {via: query(f"count ({series % via})")[0][1] for via in WAYS}
    assert world.backends["backend-0"].stop() == 0
    world.backends["backend-0"] = world.start("backend-0")
    world.sent.make(120)
    # Counters begin with a zero point, so that nothing of their first value is missed; nor is it
    # when they begin anew.
    selector, window = series % "remote_write", 600_000
    truth = dict(world.sent.calls)

    def counted():
        rows = samples(selector, window, milliseconds())
        return by_calls((labels, delta(points)) for labels, points in rows)

    testbed.until("every call is in an increase", lambda: counted() == truth)
    end = milliseconds()
    increase = by_calls(
        (labels, extrapolated(points, window, end))
        for labels, points in samples(selector, window, end)
    )
    rows = query(f"increase({selector}[{window}ms])", time=end / 1000)
    assert by_calls(rows) == close(increase)
    # All that PromQL adds is half of an interval at the end of the window.
    assert sum(increase.values()) <= sum(truth.values()) * 1.1, "a spike"
    for via in WAYS:
        testbed.until(
            f"as many series as before ({via})",
            lambda: query(f"count ({series % via})")[0][1] == before[via],
        )
