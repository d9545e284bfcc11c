"""Traces made with the real SDK, and what is true of them."""

import collections

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

TRACES = 60
EVERY_NTH_FAILS = 6


class Traffic:
    """Traces over two services; every sixth has an error in the second one."""

    def __init__(self, prefix, exporter):
        self.calls = collections.Counter()  # (service, span name, kind, status)
        self.failed = set()  # trace ids
        self.all = set()
        services = [f"{prefix}-frontend", f"{prefix}-checkout"]
        providers = [self.provider(service, exporter()) for service in services]
        frontend, checkout = (
            provider.get_tracer("interop", "1.2.3") for provider in providers
        )
        for number in range(TRACES):
            self.make(number, services, frontend, checkout)
        for provider in providers:
            assert provider.force_flush(30_000), "the SDK could not deliver its spans"
            provider.shutdown()

    @staticmethod
    def provider(service, exporter):
        resource = Resource.create({"service.name": service, "deployment.environment": "interop"})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=32))
        return provider

    def make(self, number, services, frontend, checkout):
        fails = number % EVERY_NTH_FAILS == 0
        with frontend.start_as_current_span("GET /cart", kind=SpanKind.SERVER) as root:
            root.set_attribute("http.request.method", "GET")
            root.set_attribute("tenant.ids", [1, 2, number])
            trace_id = root.get_span_context().trace_id
            link = Link(root.get_span_context(), {"reason": "same request"})
            with checkout.start_as_current_span("charge", kind=SpanKind.CLIENT, links=[link]) as span:
                span.set_attribute("amount", 12.5)
                span.set_attribute("number", number)
                span.add_event("card checked", {"attempt": 1})
                if fails:
                    span.set_status(Status(StatusCode.ERROR, "declined"))
        status = "ERROR" if fails else "UNSET"
        self.calls[services[0], "GET /cart", "SERVER", "UNSET"] += 1
        self.calls[services[1], "charge", "CLIENT", status] += 1
        self.all.add(trace_id.to_bytes(16, "big"))
        if fails:
            self.failed.add(trace_id.to_bytes(16, "big"))


def by_grpc(host):
    """The SDK's gRPC exporter against an edge."""
    return Traffic("grpc", lambda: GrpcExporter(endpoint=f"http://{host}:4317", insecure=True))


def by_http(host):
    """The SDK's HTTP/protobuf exporter against an edge, compressed."""
    endpoint = f"http://{host}:4318/v1/traces"
    return Traffic("http", lambda: HttpExporter(endpoint=endpoint, compression=Compression.Gzip))
