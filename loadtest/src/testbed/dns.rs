//! A real DNS server, authoritative for one name whose addresses can be changed at any time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::{HeaderCounts, Metadata, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use super::TestbedError;

/// How the server answers questions for its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses; none of a type is an empty answer.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The server has a problem.
    ServerFailure,
    /// Over UDP only the advice to ask again over TCP; there these addresses.
    Truncated(Vec<IpAddr>),
    /// These addresses, after a while.
    Late(Duration, Vec<IpAddr>),
    /// These names and ports, as SRV records.
    Services(Vec<(String, u16)>),
}

/// The server; it stops when this is dropped.
pub struct DnsServer {
    address: SocketAddr,
    name: String,
    state: Arc<State>,
    // Its tasks end with it.
    _server: Server<Zone>,
}

struct State {
    answer: Mutex<Answer>,
    questions: AtomicU64,
}

impl State {
    fn answer(&self) -> Answer {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl DnsServer {
    /// Serves `name` on `host`, on one free port for UDP and TCP.
    ///
    /// # Errors
    /// When no port can be had or the name is none.
    pub async fn start(
        host: Ipv4Addr,
        name: &str,
        addresses: Vec<IpAddr>,
    ) -> Result<Self, TestbedError> {
        let origin = Name::from_ascii(format!("{name}."))
            .map_err(|error| TestbedError::new(format!("{name:?} is no DNS name: {error}")))?;
        let (udp, tcp) = bind(host)
            .await
            .map_err(|error| TestbedError::new(format!("cannot serve DNS on {host}: {error}")))?;
        let address = udp.local_addr().map_err(|error| TestbedError::new(error.to_string()))?;
        let answer = Mutex::new(Answer::Addresses(addresses));
        let state = Arc::new(State { answer, questions: AtomicU64::new(0) });
        let mut server = Server::new(Zone { origin, state: Arc::clone(&state) });
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 16);
        Ok(Self { address, name: name.to_owned(), state, _server: server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name it knows, without a final dot.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Answers so from now on.
    pub fn set(&self, answer: Answer) {
        *self.state.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Number of questions for its name so far.
    pub fn questions(&self) -> u64 {
        self.state.questions.load(Ordering::Relaxed)
    }
}

/// One port for both transports. TCP has the fewer free ports, so it chooses.
async fn bind(host: Ipv4Addr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = 0;
    loop {
        let tcp = TcpListener::bind((host, 0)).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if attempts == 10 => return Err(error),
            Err(_) => attempts += 1,
        }
    }
}

struct Zone {
    origin: Name,
    state: Arc<State>,
}

#[async_trait::async_trait]
impl RequestHandler for Zone {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response_handle: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        let mut records = Vec::new();
        match request.request_info() {
            Ok(info) if Name::from(info.query.name()) == self.origin => {
                self.state.questions.fetch_add(1, Ordering::Relaxed);
                let over_udp = request.protocol() == Protocol::Udp;
                let wanted = info.query.query_type();
                let addresses = match self.state.answer() {
                    Answer::NoSuchName => {
                        metadata.response_code = ResponseCode::NXDomain;
                        Vec::new()
                    }
                    Answer::ServerFailure => {
                        metadata.response_code = ResponseCode::ServFail;
                        Vec::new()
                    }
                    Answer::Truncated(_) if over_udp => {
                        metadata.truncation = true;
                        Vec::new()
                    }
                    Answer::Addresses(addresses) | Answer::Truncated(addresses) => addresses,
                    Answer::Late(delay, addresses) => {
                        tokio::time::sleep(delay).await;
                        addresses
                    }
                    Answer::Services(services) => {
                        records = self.services(wanted, &services);
                        Vec::new()
                    }
                };
                records.extend(self.records(wanted, &addresses));
            }
            Ok(_) => metadata.response_code = ResponseCode::Refused,
            Err(_) => metadata.response_code = ResponseCode::FormErr,
        }
        let response = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            &records,
            &[],
            &[],
            &[],
        );
        // A client that is gone needs no answer.
        response_handle.send_response(response).await.unwrap_or_else(|_| {
            hickory_proto::op::Header { metadata, counts: HeaderCounts::default() }.into()
        })
    }
}

impl Zone {
    fn records(&self, wanted: RecordType, addresses: &[IpAddr]) -> Vec<Record> {
        let data = addresses.iter().filter_map(|address| match (wanted, address) {
            (RecordType::A, IpAddr::V4(address)) => Some(RData::A(A(*address))),
            (RecordType::AAAA, IpAddr::V6(address)) => Some(RData::AAAA(AAAA(*address))),
            _ => None,
        });
        data.map(|data| self.record(data)).collect()
    }

    /// A target that is no DNS name is left out.
    fn services(&self, wanted: RecordType, services: &[(String, u16)]) -> Vec<Record> {
        let wanted = services.iter().filter(|_| wanted == RecordType::SRV);
        let data = wanted.filter_map(|(target, port)| {
            let target = Name::from_ascii(format!("{target}.")).ok()?;
            Some(RData::SRV(SRV::new(0, 0, *port, target)))
        });
        data.map(|data| self.record(data)).collect()
    }

    /// Nobody is to keep an answer that changes at any time.
    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.origin.clone(), 0, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn question(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    async fn over_udp(server: &DnsServer, name: &str) -> Message {
        ask(server, name, RecordType::A).await
    }

    async fn ask(server: &DnsServer, name: &str, kind: RecordType) -> Message {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.send_to(&question(name, kind), server.address()).await.unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).await.unwrap();
        Message::from_vec(&answer[..length]).unwrap()
    }

    async fn over_tcp(server: &DnsServer, name: &str) -> Message {
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let question = question(name, RecordType::A);
        stream.write_u16(u16::try_from(question.len()).unwrap()).await.unwrap();
        stream.write_all(&question).await.unwrap();
        let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut answer).await.unwrap();
        Message::from_vec(&answer).unwrap()
    }

    fn addresses(message: &Message) -> Vec<String> {
        message.answers.iter().map(|record| record.data.to_string()).collect()
    }

    #[tokio::test]
    async fn addresses_change_at_any_time() {
        let (a, b) = (Ipv4Addr::new(127, 0, 0, 8), Ipv4Addr::new(127, 0, 0, 9));
        let server = DnsServer::start(super::super::address::unique(), "b.test", vec![a.into()])
            .await
            .unwrap();
        assert_eq!(addresses(&over_udp(&server, "b.test.").await), ["127.0.0.8"]);
        server.set(Answer::Addresses(vec![a.into(), b.into()]));
        assert_eq!(addresses(&over_udp(&server, "B.TEST.").await), ["127.0.0.8", "127.0.0.9"]);
        server.set(Answer::Addresses(Vec::new()));
        let empty = over_udp(&server, "b.test.").await;
        assert_eq!((empty.answers.len(), empty.metadata.response_code), (0, ResponseCode::NoError));
        assert_eq!(server.questions(), 3);
    }

    #[tokio::test]
    async fn failures_are_answered_as_told() {
        let server =
            DnsServer::start(super::super::address::unique(), "b.test", Vec::new()).await.unwrap();
        server.set(Answer::ServerFailure);
        let code = over_udp(&server, "b.test.").await.metadata.response_code;
        assert_eq!(code, ResponseCode::ServFail);
        server.set(Answer::NoSuchName);
        let code = over_udp(&server, "b.test.").await.metadata.response_code;
        assert_eq!(code, ResponseCode::NXDomain);
        let code = over_udp(&server, "other.test.").await.metadata.response_code;
        assert_eq!(code, ResponseCode::Refused);
        server.set(Answer::Truncated(vec![Ipv4Addr::new(127, 0, 0, 8).into()]));
        assert!(over_udp(&server, "b.test.").await.metadata.truncation);
        assert_eq!(addresses(&over_tcp(&server, "b.test.").await), ["127.0.0.8"]);
    }

    #[tokio::test]
    async fn services_are_answered_to_those_who_ask_for_them() {
        let server =
            DnsServer::start(super::super::address::unique(), "_o._tcp.b.test", Vec::new())
                .await
                .unwrap();
        let services = [("b-0.test", 4317), ("b-1.test", 4318)];
        let services = services.map(|(target, port)| (target.to_owned(), port));
        server.set(Answer::Services(services.to_vec()));
        let answer = ask(&server, "_o._tcp.b.test.", RecordType::SRV).await;
        assert_eq!(addresses(&answer), ["0 0 4317 b-0.test.", "0 0 4318 b-1.test."]);
        assert!(over_udp(&server, "_o._tcp.b.test.").await.answers.is_empty());
    }
}
