use serde_json::json;

use super::*;

fn addresses() -> Naming {
    Naming { behind_hostname: None, ports: Vec::new() }
}

fn hostnames(ports: &[u16]) -> Naming {
    Naming { behind_hostname: Some(".b.ns".to_owned()), ports: ports.to_vec() }
}

/// A slice from its name and endpoints such as `10.0.0.1`, `pod-0@10.0.0.1` or `10.0.0.1!ready`.
///
/// Behind `!`: `unready`, `draining` (terminating, still serving), `published` (terminating, said
/// to be ready).
fn slice(text: &str) -> EndpointSlice {
    let (name, endpoints) = text.split_once(": ").unwrap();
    let endpoints: Vec<_> = endpoints
        .split_whitespace()
        .map(|text| {
            let (address, state) = text.split_once('!').unwrap_or((text, ""));
            let (hostname, address) = match address.split_once('@') {
                Some((hostname, address)) => (json!(hostname), address),
                None => (Value::Null, address),
            };
            let conditions = match state {
                "" => Value::Null,
                "unset" => json!({}),
                "ready" => json!({"ready": true, "serving": true, "terminating": false}),
                "unready" => json!({"ready": false, "serving": false, "terminating": false}),
                "draining" => json!({"ready": false, "serving": true, "terminating": true}),
                "published" => json!({"ready": true, "serving": true, "terminating": true}),
                other => panic!("{other}"),
            };
            json!({"addresses": [address], "hostname": hostname, "conditions": conditions})
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "resourceVersion": "7"},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "otlp", "port": 4317, "protocol": "TCP"}],
    }))
    .unwrap()
}

/// Slices one after the other, `-name` for one that is gone, each with the backends afterwards.
#[track_caller]
fn check(naming: Naming, steps: &[(&str, &str)]) {
    let mut slices = Slices::new(naming);
    for (text, expected) in steps {
        match text.strip_prefix('-') {
            Some(name) => slices.delete(&slice(&format!("{name}: "))),
            None => assert_eq!(slices.put(&slice(text)), 0),
        }
        let backends: Vec<_> = slices.backends().into_iter().collect();
        assert_eq!(backends.join(" "), *expected, "{text}");
    }
}

#[test]
fn the_backends_are_those_of_all_slices() {
    check(
        addresses(),
        &[
            ("s1: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("s2: 10.0.0.3", "10.0.0.1 10.0.0.2 10.0.0.3"),
            ("s1: 10.0.0.2", "10.0.0.2 10.0.0.3"),
            ("-s1", "10.0.0.3"),
            ("-s1", "10.0.0.3"),
            ("-s2", ""),
        ],
    );
}

#[test]
fn an_endpoint_that_moves_between_slices_is_not_lost_in_either_order() {
    check(
        addresses(),
        &[
            ("s1: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("s2: 10.0.0.1", "10.0.0.1 10.0.0.2"),
            ("s1: 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("-s1", "10.0.0.1"),
        ],
    );
    check(
        addresses(),
        &[
            ("s1: 10.0.0.1", "10.0.0.1"),
            ("s2: 10.0.0.1", "10.0.0.1"),
            ("-s1", "10.0.0.1"),
            ("s1: 10.0.0.1", "10.0.0.1"),
            ("-s2", "10.0.0.1"),
        ],
    );
}

#[test]
fn only_what_is_ready_and_not_terminating_gets_keys() {
    check(
        addresses(),
        &[
            ("s: 10.0.0.1!ready 10.0.0.2!unset 10.0.0.3", "10.0.0.1 10.0.0.2 10.0.0.3"),
            ("s: 10.0.0.1!unready 10.0.0.2", "10.0.0.2"),
            ("s: 10.0.0.1!draining 10.0.0.2", "10.0.0.2"),
            ("s: 10.0.0.1!published 10.0.0.2", "10.0.0.2"),
        ],
    );
}

#[test]
fn every_port_of_an_endpoint_is_a_backend() {
    let ports = |ports: &[u16]| Naming { ports: ports.to_vec(), ..addresses() };
    check(ports(&[4317]), &[("s: 10.0.0.1 fd00::1", "10.0.0.1:4317 [fd00::1]:4317")]);
    check(ports(&[4317, 4318]), &[("s: 10.0.0.1", "10.0.0.1:4317 10.0.0.1:4318")]);
    check(ports(&[]), &[("s: 10.0.0.1 fd00::1", "10.0.0.1 fd00::1")]);
}

#[test]
fn hostnames_are_names_within_the_service() {
    check(hostnames(&[]), &[("s: pod-0@10.0.0.1 pod-1@10.0.0.2", "pod-0.b.ns pod-1.b.ns")]);
    check(hostnames(&[4317]), &[("s: pod-0@10.0.0.1", "pod-0.b.ns:4317")]);
}

#[test]
fn a_pod_that_restarts_with_another_address_is_the_same_backend() {
    check(
        hostnames(&[]),
        &[("s: pod-0@10.0.0.1", "pod-0.b.ns"), ("s: pod-0@10.0.0.9", "pod-0.b.ns")],
    );
}

#[test]
fn endpoints_without_a_hostname_are_passed_over_and_counted() {
    let mut slices = Slices::new(hostnames(&[]));
    slices.put(&slice("s1: pod-0@10.0.0.1 10.0.0.2 10.0.0.3!unready"));
    slices.put(&slice("s2: 10.0.0.4"));
    assert_eq!(slices.backends().into_iter().collect::<Vec<_>>(), ["pod-0.b.ns"]);
    assert_eq!(slices.without_hostname(), 2);
}

#[test]
fn the_slices_are_bounded() {
    let mut slices = Slices::new(addresses());
    for number in 0..MAX_SLICES {
        assert_eq!(slices.put(&slice(&format!("s{number}: 10.0.0.1"))), 0);
    }
    assert_eq!(slices.put(&slice("more: 10.0.0.2 10.0.0.3")), 2);
    assert_eq!(slices.put(&slice("s7: 10.0.0.4")), 0, "a known one may change");
    assert_eq!(slices.backends().into_iter().collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.4"]);
}

#[test]
fn go_s_nulls_are_empty_lists() {
    let list: List =
        serde_json::from_value(json!({"metadata": {"resourceVersion": "1"}, "items": null}))
            .unwrap();
    assert!(list.items.is_none() && list.metadata.r#continue.is_empty());
    let slice: EndpointSlice =
        serde_json::from_value(json!({"metadata": {"name": "s"}, "endpoints": null})).unwrap();
    let mut slices = Slices::new(addresses());
    slices.put(&slice);
    assert!(slices.backends().is_empty());
}

#[test]
fn events_are_read_line_by_line() {
    let parse = |text: &str| Event::parse(text.as_bytes());
    let event =
        parse(r#"{"type":"ADDED","object":{"metadata":{"name":"s","resourceVersion":"8"}}}"#);
    assert!(matches!(event, Ok(Event::Put(slice)) if slice.metadata.name == "s"));
    let event = parse(r#"{"type":"DELETED","object":{"metadata":{"name":"s"}}}"#);
    assert!(matches!(event, Ok(Event::Delete(slice)) if slice.metadata.name == "s"));
    let event = parse(r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#);
    assert!(matches!(event, Ok(Event::Bookmark { resource_version }) if resource_version == "9"));
    let told = EventError::Told { code: 410, message: "too old".to_owned() };
    let event = parse(r#"{"type":"ERROR","object":{"code":410,"message":"too old"}}"#);
    assert_eq!(event.unwrap_err(), told);
    let unreadable = EventError::Unreadable("unknown event \"NEW\"".to_owned());
    assert_eq!(parse(r#"{"type":"NEW","object":{}}"#).unwrap_err(), unreadable);
    assert!(matches!(parse("{"), Err(EventError::Unreadable(_))));
}
