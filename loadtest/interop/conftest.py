"""Both tiers, once for the whole run."""

import types

import pytest

import testbed
import traffic

EDGE, BACKEND, DNS, DESTINATION = "127.77.0.1", "127.77.0.2", "127.77.0.3", "127.77.0.4"


def start(directory, dns, destination, edge, backend, sets):
    """An edge and a backend on these addresses."""
    env = {
        "TAILRACE_DESTINATION": destination.endpoint,
        "TAILRACE_DECISION_WAIT": "2s",
    }
    flush = "connectors.spanmetrics.metrics_flush_interval=1s"
    backend = testbed.Tier(directory, "backend", backend, env, [flush, *sets["backend"]])
    env = {"TAILRACE_BACKEND": testbed.NAME, "TAILRACE_NAMESERVERS": f"['{dns.endpoint}']"}
    return testbed.Tier(directory, "edge", edge, env, sets["edge"]), backend


@pytest.fixture(scope="session")
def tiers(tmp_path_factory):
    """Both tiers with their sample configurations, a DNS server, a destination, and traffic that
    a real SDK sent by gRPC and by HTTP."""
    directory = tmp_path_factory.mktemp("tiers")
    dns = testbed.Dns(DNS, [BACKEND])
    destination = testbed.Destination(DESTINATION)
    edge, backend = start(
        directory, dns, destination, EDGE, BACKEND, {"edge": [], "backend": []}
    )
    sent = [traffic.by_grpc(EDGE), traffic.by_http(EDGE)]
    yield types.SimpleNamespace(
        directory=directory,
        dns=dns,
        edge=edge,
        backend=backend,
        destination=destination,
        sent=sent,
    )
    codes = [edge.stop(), backend.stop()]
    dns.server.stop()
    destination.server.stop(0)
    assert codes == [0, 0], f"exit codes after SIGTERM: {codes}, logs in {directory}"
