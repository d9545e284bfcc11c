use hickory_resolver::proto::op::ResponseCode;
use serde_json::json;

use super::super::ResolverConfig;
use super::super::testing::{self, Script};
use super::*;
use crate::config::testing::section;
use crate::transport::connect::HostLookup as _;

#[tokio::test]
async fn stable_names_stay_on_the_ring_while_their_pods_restart() {
    let (zone, _server, lookup) = testing::start().await;
    let config = SrvConfig {
        hostname: "b.ns.test".to_owned(),
        port_name: "otlp-grpc".to_owned(),
        lookup,
        ..SrvConfig::default()
    };
    let mut resolver = config.build();
    zone.script(|name, _| match name {
        "_otlp-grpc._tcp.b.ns.test." => {
            Script::services("0 4317 b-1.b.ns.test., 0 4318 B-0.b.ns.test.")
        }
        _ => Script::code(ResponseCode::NXDomain),
    });
    assert_eq!(resolver.changed().await, ["b-0.b.ns.test:4318", "b-1.b.ns.test:4317"]);
    // A restart is shorter than three misses, and the pod has its name again.
    zone.set(Script::services("0 4318 b-0.b.ns.test."));
    zone.assert_stays(&mut resolver, RecordType::SRV, 2).await;
    zone.set(Script::services("0 4317 b-1.b.ns.test., 0 4318 b-0.b.ns.test."));
    zone.assert_stays(&mut resolver, RecordType::SRV, 4).await;
    for code in [ResponseCode::ServFail, ResponseCode::NXDomain, ResponseCode::NoError] {
        zone.set(Script::code(code));
        zone.assert_stays(&mut resolver, RecordType::SRV, 4).await;
    }
    zone.set(Script::services("0 4317 b-1.b.ns.test."));
    assert_eq!(resolver.changed().await, ["b-1.b.ns.test:4317"]);
}

#[tokio::test]
async fn targets_are_dialled_by_the_servers_that_named_them() {
    let (zone, _server, lookup) = testing::start().await;
    let config = SrvConfig { lookup, ..SrvConfig::default() };
    zone.script(|name, _| match name {
        "b-0.b.ns.test." => Script::addresses("10.0.0.7 fd00::7"),
        _ => Script::code(ResponseCode::NXDomain),
    });
    let names = ResolverConfig { srv: Some(config), ..ResolverConfig::default() }.names().unwrap();
    let mut found = names.addresses("b-0.b.ns.test").await.unwrap();
    found.sort();
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.7", "fd00::7"]);
    assert!(names.addresses("b-1.b.ns.test").await.is_err());
    let by_system = ResolverConfig { srv: Some(SrvConfig::default()), ..Default::default() };
    assert_eq!(by_system.names(), None);
}

#[tokio::test]
async fn three_hundred_targets_come_over_tcp() {
    let (zone, _server, lookup) = testing::start().await;
    let services: Vec<_> = (0..300).map(|i| format!("0 4317 b-{i}.b.ns.test.")).collect();
    zone.set(Script::services(&services.join(",")));
    let hostname = "_otlp._tcp.b.ns.test".to_owned();
    let config = SrvConfig { hostname, lookup, ..SrvConfig::default() };
    assert_eq!(config.build().changed().await.len(), 300);
    let name = "SRV _otlp._tcp.b.ns.test.";
    assert_eq!(zone.asked(), [format!("{name} Udp"), format!("{name} Tcp")]);
}

#[track_caller]
fn check_targets(services: &str, expected: &[&str]) {
    let records = Script::services(services).records;
    let records: Vec<_> =
        records.into_iter().map(|data| Record::from_rdata(Name::root(), 7, data)).collect();
    let found = targets(&records).map(|reply| reply.answer.found).unwrap_or_default();
    assert_eq!(found, expected, "{services}");
}

#[test]
fn only_the_lowest_priority_counts() {
    check_targets("10 1 a., 10 2 b., 20 3 c.", &["a:1", "b:2"]);
    check_targets("20 3 c.", &["c:3"]);
    check_targets("0 1 A.Example., 0 1 ., 1 2 b.", &["a.example:1"]);
    check_targets("0 0 .", &[]);
}

#[track_caller]
fn check(json: &serde_json::Value, expected: Result<&str, &str>) {
    let (config, errors, _) = section::<SrvConfig>(json, SrvConfig::validate);
    match expected {
        Ok(name) => assert_eq!((config.name().as_str(), errors), (name, Vec::new())),
        Err(error) => assert_eq!(errors, [error], "{json}"),
    }
}

#[test]
fn the_name_is_made_of_port_protocol_and_service() {
    check(&json!({"hostname": "b", "port_name": "otlp"}), Ok("_otlp._tcp.b"));
    check(&json!({"hostname": "b", "port_name": "q", "protocol": "udp"}), Ok("_q._udp.b"));
    check(&json!({"hostname": "_otlp._tcp.b."}), Ok("_otlp._tcp.b."));
    check(&json!({"hostname": "b"}), Err("a::port_name: no port name specified to look up"));
    check(
        &json!({"hostname": "_otlp._tcp.b", "port_name": "otlp"}),
        Err("a::port_name: hostname is the whole name already"),
    );
    check(
        &json!({"port_name": "otlp"}),
        Err("a::hostname: no hostname specified to resolve the backends"),
    );
}
