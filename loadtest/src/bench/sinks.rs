//! Destinations that count what they get: bare HTTP/2, so that nothing of a gateway's own code
//! judges it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use shared::transport::compression::{Coding, inflate};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::content::Depth;
use super::tally::{Tally, Total};
use crate::faulty::grpc::{self, Answer, Code};
use crate::testbed::process::GRPC;
use crate::testbed::{TestbedError, address};

/// The largest message that is inflated.
const MAX_MESSAGE_BYTES: usize = 1 << 28;
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Metrics and logs that a gateway exports besides are taken and not counted.
const UNCOUNTED: [&str; 2] = [
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
];

/// Sinks behind one gateway. Dropping them closes their connections.
pub(super) struct Sinks {
    addresses: Vec<SocketAddr>,
    tallies: Vec<Arc<Tally>>,
    _tasks: JoinSet<()>,
}

impl Sinks {
    /// Listens on this many addresses.
    ///
    /// # Errors
    /// When one is in use.
    pub(super) async fn start(count: usize) -> Result<Self, TestbedError> {
        let (mut addresses, mut tallies, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
        for _ in 0..count {
            let address = SocketAddr::from((address::unique(), GRPC));
            let listener = TcpListener::bind(address).await.map_err(|error| {
                TestbedError::new(format!("a sink cannot listen on {address}: {error}"))
            })?;
            let tally = Arc::<Tally>::default();
            tasks.spawn(listen(listener, Arc::clone(&tally)));
            addresses.push(address);
            tallies.push(tally);
        }
        Ok(Self { addresses, tallies, _tasks: tasks })
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Hashes so deep from now on.
    pub(super) fn set(&self, depth: Depth) {
        for tally in &self.tallies {
            tally.set(depth);
        }
    }

    /// What arrived, and begins anew.
    pub(super) fn take(&self) -> Total {
        Total::of(self.tallies.iter().map(|tally| tally.take()))
    }

    /// Spans so far, and when the last came.
    pub(super) fn progress(&self) -> (u64, Option<Instant>) {
        let mut all = (0, None);
        for tally in &self.tallies {
            let (spans, last) = tally.progress();
            all = (all.0 + spans, all.1.max(last));
        }
        all
    }
}

async fn listen(listener: TcpListener, tally: Arc<Tally>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&tally)))),
                // Too many open files, or a peer that is gone already.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, tally: Arc<Tally>) {
    // Without it answers are late, and nothing else is wrong.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| {
        let tally = Arc::clone(&tally);
        async move { Ok::<_, Infallible>(answer(&tally, request).await) }
    });
    let connection = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(10_000)
        .initial_connection_window_size(8 * 1024 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ended is in the gateway's log.
    drop(connection.await);
}

async fn answer(tally: &Tally, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let is_counted = path == TRACES;
    if !is_counted && !UNCOUNTED.contains(&path) {
        return grpc::failure(Code::Unimplemented, "unknown method", None);
    }
    let coding = request.headers().get("grpc-encoding").and_then(|value| value.to_str().ok());
    let coding = coding.and_then(Coding::by_name);
    let Ok(body) = request.into_body().collect().await else {
        return grpc::failure(Code::Unavailable, "the request broke off", None);
    };
    let body = body.to_bytes();
    match message(&body, coding) {
        Ok(message) => {
            if is_counted {
                tally.count(&message, body.len() as u64 - PREFIX_BYTES as u64);
            }
            grpc::success(0)
        }
        Err(why) => grpc::failure(Code::InvalidArgument, why, None),
    }
}

/// Flag and length of a message.
const PREFIX_BYTES: usize = 5;

/// The message in a body, inflated.
fn message(body: &Bytes, coding: Option<Coding>) -> Result<Bytes, &'static str> {
    let (prefix, content) =
        body.split_first_chunk::<PREFIX_BYTES>().ok_or("the request holds no message")?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if content.len() != length {
        return Err("the request does not hold one message");
    }
    match (prefix[0], coding) {
        (0, _) => Ok(body.slice(PREFIX_BYTES..)),
        (1, Some(coding)) => inflate(coding, content, MAX_MESSAGE_BYTES)
            .map(Bytes::from)
            .map_err(|_| "the message cannot be inflated"),
        _ => Err("the message is compressed in an unknown way"),
    }
}
