"""A real OpenTelemetry SDK through edge and backend."""

import testbed


def attributes(message):
    """Attributes of a decoded message, by key."""
    return {entry.key: entry.value for entry in message.attributes}


def test_every_failed_trace_arrives_whole(tiers):
    for sent in tiers.sent:
        testbed.until(
            "all failed traces are at the destination",
            lambda sent=sent: sent.failed <= tiers.destination.traces().keys(),
        )
        for trace_id in sent.failed:
            names = sorted(row[2].name for row in tiers.destination.traces()[trace_id])
            assert names == ["GET /cart", "charge"]


def test_nothing_of_a_span_is_lost(tiers):
    for sent in tiers.sent:
        for trace_id in sent.failed:
            rows = {row[2].name: row for row in tiers.destination.traces()[trace_id]}
            resource, scope, span = rows["charge"]
            assert attributes(resource)["deployment.environment"].string_value == "interop"
            assert attributes(resource)["telemetry.sdk.language"].string_value == "python"
            assert (scope.name, scope.version) == ("interop", "1.2.3")
            assert attributes(span)["amount"].double_value == 12.5
            assert (span.status.code, span.status.message) == (2, "declined")
            assert [event.name for event in span.events] == ["card checked"]
            root = rows["GET /cart"][2]
            assert span.parent_span_id == root.span_id
            assert [link.span_id for link in span.links] == [root.span_id]
            ids = attributes(root)["tenant.ids"].array_value.values
            assert [value.int_value for value in ids][:2] == [1, 2]


def test_other_traces_are_sampled_whole_or_not_at_all(tiers):
    sent = set().union(*(sent.all for sent in tiers.sent))
    failed = set().union(*(sent.failed for sent in tiers.sent))
    traces = tiers.destination.traces()
    assert traces.keys() <= sent
    for trace_id, rows in traces.items():
        assert len(rows) == 2, f"{trace_id.hex()} has {len(rows)} spans"
    # One in ten of the others, by hash: some, and far from all.
    others = traces.keys() - failed
    assert len(others) < len(sent - failed) / 2
