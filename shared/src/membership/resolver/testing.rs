//! A DNS server on a loopback port, for tests: answers by a script and remembers the questions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::proto::op::{Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use super::{LookupConfig, Resolver};

/// A question that came, as `A backend.test. Udp`.
type Asked = String;

/// What is answered to a question.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) code: ResponseCode,
    pub(super) records: Vec<RData>,
    /// Whether there is no answer at all.
    pub(super) silent: bool,
}

impl Script {
    pub(super) fn code(code: ResponseCode) -> Self {
        Self { code, records: Vec::new(), silent: false }
    }

    pub(super) fn silence() -> Self {
        Self { silent: true, ..Self::code(ResponseCode::NoError) }
    }

    /// Addresses, separated by spaces; those of the wrong type are left out when asked.
    pub(super) fn addresses(addresses: &str) -> Self {
        let records = addresses.split_whitespace();
        let records = records.map(|ip| RData::from(ip.parse::<std::net::IpAddr>().unwrap()));
        Self { records: records.collect(), ..Self::code(ResponseCode::NoError) }
    }

    /// SRV records: `priority port target`, separated by commas.
    pub(super) fn services(services: &str) -> Self {
        let records = services.split(',').map(|service| {
            let words: Vec<&str> = service.split_whitespace().collect();
            let [priority, port, target] = words[..] else { panic!("{service}") };
            let target = Name::from_utf8(target).unwrap();
            RData::SRV(SRV::new(priority.parse().unwrap(), 0, port.parse().unwrap(), target))
        });
        Self { records: records.collect(), ..Self::code(ResponseCode::NoError) }
    }
}

type Answers = Box<dyn Fn(&str, RecordType) -> Script + Send>;

/// The server's side.
pub(super) struct Zone {
    answers: Mutex<Answers>,
    asked: watch::Sender<Vec<Asked>>,
}

impl Zone {
    /// Answers so from now on: given the full name and the type that is asked for.
    pub(super) fn script(&self, answers: impl Fn(&str, RecordType) -> Script + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answers);
    }

    /// Answers every question so from now on.
    pub(super) fn set(&self, script: Script) {
        self.script(move |_, _| script.clone());
    }

    /// The questions so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// Number of questions for this type so far.
    pub(super) fn count(&self, kind: RecordType) -> usize {
        count(&self.asked.borrow(), kind)
    }

    /// Checks that the set stays while it is asked `more` times for this type.
    pub(super) async fn assert_stays(
        &self,
        resolver: &mut Box<dyn Resolver>,
        kind: RecordType,
        more: usize,
    ) {
        let mut asked = self.asked.subscribe();
        let start = self.count(kind);
        tokio::select! {
            endpoints = resolver.changed() => panic!("changed to {endpoints:?}"),
            enough = asked.wait_for(|asked| count(asked, kind) >= start + more) => {
                drop(enough.unwrap());
            }
        }
    }
}

fn count(asked: &[Asked], kind: RecordType) -> usize {
    let kind = format!("{kind} ");
    asked.iter().filter(|asked| asked.starts_with(&kind)).count()
}

pub(super) struct Handler(Arc<Zone>);

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let info = request.request_info().unwrap();
        let (name, kind) = (Name::from(info.query.name().clone()), info.query.query_type());
        let script = (self.0.answers.lock().unwrap())(&name.to_string(), kind);
        let protocol = if request.protocol() == Protocol::Tcp { "Tcp" } else { "Udp" };
        self.0.asked.send_modify(|asked| asked.push(format!("{kind} {name} {protocol}")));
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = script.code;
        metadata.authoritative = true;
        if script.silent {
            std::future::pending::<()>().await;
        }
        let records: Vec<Record> = script
            .records
            .into_iter()
            .filter(|data| data.record_type() == kind)
            .map(|data| Record::from_rdata(name.clone(), 5, data))
            .collect();
        let message = MessageResponseBuilder::from_message_request(request);
        let message = message.build(metadata, &records, [], [], []);
        response.send_response(message).await.unwrap()
    }
}

/// A server that says that there is no name, and the settings to ask it every few milliseconds.
pub(super) async fn start() -> (Arc<Zone>, Server<Handler>, LookupConfig) {
    // The port must be free for both protocols.
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let nameserver = tcp.local_addr().unwrap().to_string();
    let zone = Arc::new(Zone {
        answers: Mutex::new(Box::new(|_, _| Script::code(ResponseCode::NXDomain))),
        asked: watch::Sender::new(Vec::new()),
    });
    let mut server = Server::new(Handler(Arc::clone(&zone)));
    server.register_socket(udp);
    server.register_listener(tcp, Duration::from_secs(5), 32);
    let config = LookupConfig {
        interval: Duration::from_millis(5),
        nameservers: vec![nameserver],
        // A busy machine must not turn an answer into a failure.
        timeout: Duration::from_secs(20),
        shrink_hold: Duration::ZERO,
        ..LookupConfig::default()
    };
    (zone, server, config)
}
