//! Against a real DNS server on a loopback port.

use std::sync::{Arc, Mutex};

use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Metadata, ResponseCode};
use hickory_server::proto::rr::{RData, Record};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use super::*;

const HOSTNAME: &str = "backend.test";

/// What the server answers, and how it was asked.
struct Zone {
    state: Mutex<State>,
    lookups: watch::Sender<Lookups>,
}

#[derive(Default)]
struct State {
    addresses: Vec<IpAddr>,
    code_a: ResponseCode,
    code_aaaa: ResponseCode,
}

/// Questions for A records, by transport.
#[derive(Default, Clone, Copy, Debug)]
struct Lookups {
    udp: usize,
    tcp: usize,
}

impl Zone {
    fn set(&self, addresses: &str) {
        let addresses = addresses.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        *self.state.lock().unwrap() = State { addresses, ..State::default() };
    }

    fn fail(&self, code: ResponseCode) {
        *self.state.lock().unwrap() =
            State { addresses: Vec::new(), code_a: code, code_aaaa: code };
    }

    /// Waits until it was asked `count` times more.
    async fn asked(&self, count: usize) {
        let mut lookups = self.lookups.subscribe();
        let start = lookups.borrow().udp;
        lookups.wait_for(|lookups| lookups.udp >= start + count).await.unwrap();
    }
}

#[derive(Clone)]
struct Handler(Arc<Zone>);

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let query = request.request_info().unwrap().query.clone();
        let (addresses, code) = {
            let state = self.0.state.lock().unwrap();
            let wants_v4 = query.query_type() == RecordType::A;
            let addresses: Vec<_> =
                state.addresses.iter().copied().filter(|ip| ip.is_ipv4() == wants_v4).collect();
            (addresses, if wants_v4 { state.code_a } else { state.code_aaaa })
        };
        if query.query_type() == RecordType::A {
            self.0.lookups.send_modify(|lookups| match request.protocol() {
                Protocol::Tcp => lookups.tcp += 1,
                _ => lookups.udp += 1,
            });
        }
        let name = Name::from(query.name().clone());
        let records: Vec<Record> = addresses
            .into_iter()
            .map(|ip| Record::from_rdata(name.clone(), 5, RData::from(ip)))
            .collect();
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = code;
        metadata.authoritative = true;
        let message = MessageResponseBuilder::from_message_request(request);
        let message = message.build(metadata, &records, [], [], []);
        response.send_response(message).await.unwrap()
    }
}

/// A server with an empty zone, and a resolver that asks it every few milliseconds.
async fn start(port: &str) -> (Arc<Zone>, Server<Handler>, Box<dyn Resolver>) {
    // The port must be free for both protocols.
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let nameserver = tcp.local_addr().unwrap().to_string();
    let zone = Arc::new(Zone {
        state: Mutex::new(State::default()),
        lookups: watch::Sender::new(Lookups::default()),
    });
    let mut server = Server::new(Handler(Arc::clone(&zone)));
    server.register_socket(udp);
    server.register_listener(tcp, Duration::from_secs(5), 32);
    let config = DnsConfig {
        hostname: HOSTNAME.to_owned(),
        port: port.to_owned(),
        interval: Duration::from_millis(5),
        nameservers: vec![nameserver],
        // A busy machine must not turn an answer into a failure.
        timeout: Duration::from_secs(20),
        ..DnsConfig::default()
    };
    (zone, server, config.build())
}

/// Checks that the set stays while the server is asked `count` times.
async fn assert_stays(resolver: &mut Box<dyn Resolver>, zone: &Zone, count: usize) {
    tokio::select! {
        endpoints = resolver.changed() => panic!("changed to {endpoints:?}"),
        () = zone.asked(count) => {}
    }
}

#[tokio::test]
async fn addresses_of_both_kinds_are_found_sorted_and_changes_are_seen() {
    let (zone, _server, mut resolver) = start("4317").await;
    zone.set("10.0.0.2 fd00::1 10.0.0.1 10.0.0.2");
    let all = ["10.0.0.1:4317", "10.0.0.2:4317", "[fd00::1]:4317"];
    assert_eq!(resolver.changed().await, all);
    zone.set("10.0.0.1 10.0.0.2 10.0.0.3 fd00::1");
    let all = ["10.0.0.1:4317", "10.0.0.2:4317", "10.0.0.3:4317", "[fd00::1]:4317"];
    assert_eq!(resolver.changed().await, all);
    zone.set("10.0.0.3");
    let start = zone.lookups.borrow().udp;
    assert_eq!(resolver.changed().await, ["10.0.0.3:4317"]);
    assert_eq!(zone.lookups.borrow().udp - start, 3, "three misses");
}

#[tokio::test]
async fn failures_and_empty_answers_never_empty_the_set() {
    let (zone, _server, mut resolver) = start("").await;
    zone.set("10.0.0.1 fd00::1");
    assert_eq!(resolver.changed().await, ["10.0.0.1", "[fd00::1]"]);
    for code in [ResponseCode::ServFail, ResponseCode::NXDomain, ResponseCode::NoError] {
        zone.fail(code);
        assert_stays(&mut resolver, &zone, 5).await;
    }
    zone.set("10.0.0.2");
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2", "[fd00::1]"]);
}

#[tokio::test]
async fn it_keeps_trying_when_the_first_lookups_fail() {
    let (zone, _server, mut resolver) = start("").await;
    zone.fail(ResponseCode::ServFail);
    assert_stays(&mut resolver, &zone, 5).await;
    zone.set("10.0.0.1");
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
}

#[tokio::test]
async fn a_server_that_fails_for_aaaa_does_not_keep_dead_ipv4_addresses() {
    let (zone, _server, mut resolver) = start("").await;
    zone.set("10.0.0.1 10.0.0.2");
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2"]);
    zone.set("10.0.0.1");
    zone.state.lock().unwrap().code_aaaa = ResponseCode::ServFail;
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let (zone, _server, mut resolver) = start("4317").await;
    let addresses: Vec<_> = (0..300).map(|i| format!("10.0.{}.{}", i / 200, i % 200)).collect();
    zone.set(&addresses.join(" "));
    let mut expected: Vec<_> = addresses.iter().map(|ip| format!("{ip}:4317")).collect();
    let mut found = resolver.changed().await;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let Lookups { udp, tcp } = *zone.lookups.borrow();
    assert_eq!((udp, tcp), (1, 1));
}

#[tokio::test]
async fn an_address_as_hostname_is_taken_as_it_is() {
    let config = DnsConfig { hostname: "127.0.0.1".to_owned(), ..DnsConfig::default() };
    assert_eq!(config.build().changed().await, ["127.0.0.1"]);
}

#[test]
fn nameservers_may_lack_a_port() {
    assert_eq!(parse_nameserver("10.0.0.10"), Some("10.0.0.10:53".parse().unwrap()));
    assert_eq!(parse_nameserver("[fd00::a]:5353"), Some("[fd00::a]:5353".parse().unwrap()));
    assert_eq!(parse_nameserver("fd00::a"), Some("[fd00::a]:53".parse().unwrap()));
    assert_eq!(parse_nameserver("ns"), None);
}
