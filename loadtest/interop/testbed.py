"""The parts around the tiers: processes, a DNS server, a tracing destination, Prometheus."""

import os
import pathlib
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures

import dnslib
import dnslib.server
import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("TAILRACE_BIN", TOP / "target" / "debug"))
DNS_PORT = 15353
NAME = "backends.interop.test"


def fetch(url, headers=None, timeout=5):
    """Body of a page."""
    request = urllib.request.Request(url, headers=headers or {})
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return response.read().decode()


def until(what, condition, timeout=60):
    """Waits until condition() is true and returns its value."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            value = condition()
        except (urllib.error.URLError, ConnectionError, OSError):
            value = None
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout} s in vain until {what}")


class Process:
    """A child process that must end by itself when it is asked to."""

    def __init__(self, log, *arguments, env=None):
        self.log = open(log, "wb")
        self.name = pathlib.Path(str(arguments[0])).name
        self.child = subprocess.Popen(
            [str(argument) for argument in arguments],
            env={**os.environ, **(env or {})},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(timeout=60)
        finally:
            self.child.kill()
            self.log.close()


class Tier(Process):
    """An edge or a backend on an address of its own, with its sample configuration or another."""

    def __init__(self, directory, tier, host, env, sets=(), config=None):
        flags = [flag for setting in sets for flag in ("--set", setting)]
        config = config or TOP / "deploy" / "config" / f"{tier}.yaml"
        env = {"TAILRACE_HOST": host, "TAILRACE_ADMIN_HOST": host, **env}
        log = directory / f"{tier}-{host}.log"
        super().__init__(log, BINARIES / tier, "--config", config, *flags, env=env)
        self.host = host
        self.metrics = f"http://{host}:8888/metrics"
        until(
            f"{tier} is healthy (see {log})",
            lambda: self.running() and fetch(f"http://{host}:13133/"),
        )

    def running(self):
        assert self.child.poll() is None, f"{self.name} ended by itself: {self.log.name}"
        return True


class Dns(dnslib.server.BaseResolver):
    """Authority for one name."""

    def __init__(self, host, addresses):
        self.addresses = addresses
        self.server = dnslib.server.DNSServer(
            self, address=host, port=DNS_PORT, logger=dnslib.server.DNSLogger("-request,-reply")
        )
        self.server.start_thread()
        self.endpoint = f"{host}:{DNS_PORT}"

    def resolve(self, request, handler):
        reply = request.reply()
        if str(request.q.qname).rstrip(".").lower() != NAME:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        elif request.q.qtype == dnslib.QTYPE.A:
            for address in self.addresses:
                reply.add_answer(dnslib.RR(NAME, rdata=dnslib.A(address), ttl=1))
        return reply


class Destination(trace_service_pb2_grpc.TraceServiceServicer):
    """A tracing backend: keeps what it is sent, decoded by the official Python classes."""

    def __init__(self, host):
        self.lock = threading.Lock()
        self.spans = []  # (resource, scope, span)
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        self.endpoint = f"{host}:4317"
        assert self.server.add_insecure_port(self.endpoint), f"cannot listen on {self.endpoint}"
        self.server.start()

    def Export(self, request, context):
        with self.lock:
            for entry in request.resource_spans:
                for scope in entry.scope_spans:
                    for span in scope.spans:
                        self.spans.append((entry.resource, scope.scope, span))
        return trace_service_pb2.ExportTraceServiceResponse()

    def traces(self):
        """Spans by trace id."""
        with self.lock:
            traces = {}
            for row in self.spans:
                traces.setdefault(row[2].trace_id, []).append(row)
            return traces
