//! The OTLP/gRPC side: takes requests, or does to them what the fault says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use shared::{Batch, Signal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::grpc::{self, Answer, Code};
use super::record::{Kind, Recorder, SpanRef};
use crate::item::for_each_item;
use crate::testbed::TestbedError;

/// What all connections share.
pub(super) struct Backend {
    recorder: Recorder,
    fault: watch::Sender<Fault>,
    /// Requests since the fault was set.
    requests: AtomicU64,
}

impl Backend {
    pub(super) fn new(recorder: Recorder, fault: Fault) -> Self {
        Self { recorder, fault: watch::channel(fault).0, requests: AtomicU64::new(0) }
    }

    pub(super) fn fault(&self) -> Fault {
        *self.fault.borrow()
    }

    /// Treats requests so from now on.
    pub(super) fn set(&self, fault: Fault) {
        self.requests.store(0, Ordering::Relaxed);
        self.fault.send_replace(fault);
    }

    /// Whether this request is one of those that come so often.
    fn is_turn(&self, every: u64) -> bool {
        (self.requests.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
    }
}

/// Serves on `address` until the task is aborted; not while the fault is [`Fault::Refuse`].
pub(super) async fn listen(
    backend: Arc<Backend>,
    address: SocketAddr,
) -> Result<JoinHandle<()>, TestbedError> {
    let failed = |error| TestbedError::new(format!("cannot listen on {address}: {error}"));
    let mut listener = Some(TcpListener::bind(address).await.map_err(failed)?);
    Ok(tokio::spawn(async move {
        let mut faults = backend.fault.subscribe();
        loop {
            let refuses = *faults.borrow_and_update() == Fault::Refuse;
            let accepted = match (&listener, refuses) {
                (_, true) => {
                    listener = None;
                    None
                }
                (None, false) => {
                    // The address may be in use for a moment more.
                    match TcpListener::bind(address).await {
                        Ok(bound) => listener = Some(bound),
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                    continue;
                }
                (Some(listener), false) => Some(listener),
            };
            tokio::select! {
                changed = faults.changed() => if changed.is_err() { return },
                stream = accept(accepted) => {
                    drop(tokio::spawn(serve(Arc::clone(&backend), stream)));
                }
            }
        }
    }))
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        match listener {
            None => std::future::pending().await,
            Some(listener) => match listener.accept().await {
                Ok((stream, _)) => return stream,
                // Too many open files, or a peer that is gone already.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
}

/// Serves one connection until it ends or is cut.
async fn serve(backend: Arc<Backend>, stream: TcpStream) {
    reset_when_closed(&stream);
    let number = backend.recorder.number();
    let cut = CancellationToken::new();
    let service = service_fn({
        let (backend, cut) = (Arc::clone(&backend), cut.clone());
        move |request| {
            let (backend, cut) = (Arc::clone(&backend), cut.clone());
            async move { Ok::<_, Infallible>(answer(&backend, number, &cut, request).await) }
        }
    });
    let connection = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(10_000)
        .initial_connection_window_size(4 * 1024 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut faults = backend.fault.subscribe();
    tokio::select! {
        // How a connection ended is in the edge's log.
        _ = connection => {}
        () = cut.cancelled() => {}
        _ = faults.wait_for(|fault| *fault == Fault::Refuse) => {
            backend.recorder.write(Kind::Cut, 0, number, Vec::new());
        }
    }
}

#[allow(deprecated, reason = "a linger of zero does not block, which the deprecation is about")]
fn reset_when_closed(stream: &TcpStream) {
    let set = stream.set_linger(Some(Duration::ZERO));
    debug_assert!(set.is_ok(), "the socket is open");
}

async fn answer(
    backend: &Backend,
    connection: u64,
    cut: &CancellationToken,
    request: Request<Incoming>,
) -> Answer {
    let fault = backend.fault();
    if let Fault::Reset(every) = fault
        && backend.is_turn(every)
    {
        return reset(backend, connection, cut).await;
    }
    let batch = match read(request).await {
        Ok(batch) => batch,
        Err((code, text)) => return grpc::failure(code, text, None),
    };
    let mut items = items_of(&batch);
    let (number, recorder) = (backend.recorder.number(), &backend.recorder);
    let answer = match fault {
        Fault::Unavailable => {
            return grpc::failure(Code::Unavailable, "told to be unavailable", None);
        }
        Fault::Exhausted(delay) => {
            return grpc::failure(Code::ResourceExhausted, "told to be exhausted", Some(delay));
        }
        Fault::Poison(_) if items.iter().any(|item| fault.poisons(item.span)) => {
            recorder.write(Kind::Rejected, number, connection, items);
            grpc::failure(Code::InvalidArgument, "a span is poisoned", None)
        }
        Fault::Partial(refused) => {
            let rejected = items.split_off(items.len().saturating_sub(refused));
            let refused = rejected.len();
            recorder.write(Kind::Rejected, number, connection, rejected);
            recorder.write(Kind::Taken, number, connection, items);
            grpc::success(refused)
        }
        _ => {
            recorder.write(Kind::Taken, number, connection, items);
            grpc::success(0)
        }
    };
    match fault {
        Fault::Delay(delay) => tokio::time::sleep(delay).await,
        Fault::LoseAnswers(every) if backend.is_turn(every) => {
            return reset(backend, connection, cut).await;
        }
        _ => {}
    }
    recorder.write(Kind::Answered, number, connection, Vec::new());
    answer
}

/// Ends the connection; there is no answer.
async fn reset(backend: &Backend, connection: u64, cut: &CancellationToken) -> Answer {
    backend.recorder.write(Kind::Cut, 0, connection, Vec::new());
    cut.cancel();
    std::future::pending().await
}

async fn read(request: Request<Incoming>) -> Result<Batch, (Code, &'static str)> {
    let signal = match request.uri().path() {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Signal::Traces,
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Signal::Metrics,
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Signal::Logs,
        _ => return Err((Code::Unimplemented, "unknown method")),
    };
    let body: Bytes = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err((Code::Unavailable, "the request broke off")),
    };
    let message =
        grpc::message(&body).ok_or((Code::Unimplemented, "one uncompressed message, please"))?;
    Batch::parse(signal, message).map_err(|_| (Code::InvalidArgument, "no export request"))
}

fn items_of(batch: &Batch) -> Vec<SpanRef> {
    let mut items = Vec::with_capacity(batch.items());
    for_each_item(batch, |item| {
        let (trace_id, span_id) = item.ids();
        let number = |id: &[u8]| id.last_chunk().map_or(0, |last| u64::from_be_bytes(*last));
        items.push(SpanRef { key: number(trace_id), span: number(span_id) });
    });
    items
}
