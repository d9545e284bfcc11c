//! Sends requests that are ready in memory in a closed loop: bare HTTP/2, with as little work as
//! possible, so that not the loader is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use shared::config::Compression;
use shared::wire::{Fields, Value};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::payload::{Work, uri};
use super::template::name_of;
use crate::send::Counts;
use crate::testbed::TestbedError;

/// A request that is rejected for longer than this is given up, and the load with it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to load a gateway.
#[derive(Debug, Clone)]
pub(super) struct Loader {
    /// Connections go to these in turns.
    pub(super) targets: Vec<SocketAddr>,
    pub(super) connections: usize,
    /// Requests on their way at a time, over all connections.
    pub(super) in_flight: usize,
    /// How the requests are compressed.
    pub(super) compression: Compression,
}

impl Loader {
    /// Sends all of `work`; how long it took until the last answer.
    ///
    /// What could not be sent is in `counts`.
    ///
    /// # Errors
    /// When a target's address is none.
    pub(super) async fn run(
        &self,
        work: &Work,
        counts: &Arc<Counts>,
    ) -> Result<Duration, TestbedError> {
        let lines = (0..self.connections).map(|index| {
            Line::new(self.targets[index % self.targets.len()], self.compression).map(Arc::new)
        });
        let lines: Vec<Arc<Line>> = lines.collect::<Result<_, _>>()?;
        let next = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let mut workers = JoinSet::new();
        for worker in 0..self.in_flight.max(self.connections) {
            let line = Arc::clone(&lines[worker % lines.len()]);
            workers.spawn(send_turns(line, work.clone(), Arc::clone(&next), Arc::clone(counts)));
        }
        while let Some(ended) = workers.join_next().await {
            ended.expect("a worker does not panic");
        }
        Ok(started.elapsed())
    }
}

async fn send_turns(line: Arc<Line>, work: Work, next: Arc<AtomicUsize>, counts: Arc<Counts>) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= work.count {
            return;
        }
        let request = &work.requests[index % work.requests.len()];
        match deliver(&line, &request.body, &counts).await {
            Ok(rejected) => {
                counts.spans.fetch_add(request.spans, Ordering::Relaxed);
                counts.requests.fetch_add(1, Ordering::Relaxed);
                counts.bytes.fetch_add(request.bytes, Ordering::Relaxed);
                counts.rejected_spans.fetch_add(rejected, Ordering::Relaxed);
            }
            Err(reason) => {
                counts.give_up(request.spans, reason);
                // The round is void; there is no point in waiting for every other request.
                next.store(work.count, Ordering::Relaxed);
            }
        }
    }
}

/// Sends one request, again and again while it is rejected for now: how many of its spans the
/// gateway says it did not take, or why it was given up.
async fn deliver(line: &Line, body: &Bytes, counts: &Counts) -> Result<u64, String> {
    let give_up = Instant::now() + PATIENCE;
    let mut backoff = Duration::from_millis(50);
    loop {
        let reason = match line.send(body.clone()).await {
            Answer::Taken { rejected } => return Ok(rejected),
            Answer::Never(reason) => return Err(reason),
            Answer::Later(reason) => reason,
        };
        if Instant::now() + backoff > give_up {
            return Err(format!("rejected for {} s: {reason}", PATIENCE.as_secs()));
        }
        counts.retry(reason);
        sleep(backoff).await;
        backoff = (backoff * 2).min(Duration::from_secs(1));
    }
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Taken { rejected: u64 },
    Later(String),
    Never(String),
}

type Connection = SendRequest<Full<Bytes>>;

/// One connection, opened again when it was closed.
pub(super) struct Line {
    target: SocketAddr,
    uri: Uri,
    headers: HeaderMap,
    open: Mutex<Option<Connection>>,
}

impl Line {
    pub(super) fn new(target: SocketAddr, compression: Compression) -> Result<Self, TestbedError> {
        let uri = uri(target)
            .parse()
            .map_err(|error| TestbedError::new(format!("{target} is no target: {error}")))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if compression != Compression::None {
            headers.insert("grpc-encoding", HeaderValue::from_static(name_of(compression)));
        }
        Ok(Self { target, uri, headers, open: Mutex::new(None) })
    }

    async fn connection(&self) -> Result<Connection, String> {
        let mut open = self.open.lock().await;
        if let Some(connection) = &*open
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let failed = |error: &dyn std::fmt::Display| format!("cannot connect: {error}");
        let stream = TcpStream::connect(self.target).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let (connection, driver) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // How it ended the next request will see.
        drop(tokio::spawn(async move { drop(driver.await) }));
        *open = Some(connection.clone());
        Ok(connection)
    }

    pub(super) async fn send(&self, body: Bytes) -> Answer {
        match self.try_send(body).await {
            Ok(answer) => answer,
            Err(reason) => Answer::Later(reason),
        }
    }

    async fn try_send(&self, body: Bytes) -> Result<Answer, String> {
        let mut connection = self.connection().await?;
        connection.ready().await.map_err(|error| error.to_string())?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        if head.headers.contains_key(STATUS) {
            return Ok(read_answer(&head.headers, &[]));
        }
        let body = body.collect().await.map_err(|error| error.to_string())?;
        let trailers = body.trailers().cloned();
        match trailers {
            Some(trailers) => Ok(read_answer(&trailers, &body.to_bytes())),
            None => Ok(Answer::Never(format!("HTTP status {} without a gRPC status", head.status))),
        }
    }
}

const STATUS: &str = "grpc-status";
/// The codes after which a client sends again.
/// Source: opentelemetry-specification, protocol/otlp.md, "OTLP/gRPC response codes".
const FOR_NOW: [u16; 7] = [1, 4, 8, 10, 11, 14, 15];

fn read_answer(status: &HeaderMap, body: &[u8]) -> Answer {
    let text = |name: &str| status.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    match text(STATUS).parse() {
        Ok(0) => Answer::Taken { rejected: rejected_spans(body) },
        Ok(code) => {
            let reason = format!("gRPC status {code}: {}", text("grpc-message"));
            match FOR_NOW.contains(&code) {
                true => Answer::Later(reason),
                false => Answer::Never(reason),
            }
        }
        Err(_) => Answer::Never(format!("{:?} is no gRPC status", text(STATUS))),
    }
}

/// The spans that an answer says were not taken.
fn rejected_spans(body: &[u8]) -> u64 {
    let first = |message| Fields::new(message).find(|field| field.number == 1);
    let partial = first(body.get(5..).unwrap_or_default());
    let partial = partial.and_then(|field| field.value.bytes()).unwrap_or_default();
    match first(partial).map(|field| field.value) {
        Some(Value::Varint(count)) => count,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &'static str, body: &[u8]) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, HeaderValue::from_static(status));
        headers.insert("grpc-message", HeaderValue::from_static("why"));
        read_answer(&headers, body)
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(answer("0", &[0; 5]), Answer::Taken { rejected: 0 });
        let partial = [0, 0, 0, 0, 4, 0x0a, 2, 0x08, 7];
        assert_eq!(answer("0", &partial), Answer::Taken { rejected: 7 });
        assert_eq!(answer("14", b""), Answer::Later("gRPC status 14: why".into()));
        assert_eq!(answer("3", b""), Answer::Never("gRPC status 3: why".into()));
        assert_eq!(answer("x", b""), Answer::Never("\"x\" is no gRPC status".into()));
    }
}
