//! The gRPC server: the `Export` methods of the three signals.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::Status;

use super::export_path;
use super::message;
use crate::config::{GrpcServerConfig, ServerKeepaliveConfig};
use crate::otlp::{Intake, Refusal, Turned};
use crate::service::BuildError;
use crate::transport::bounds;
use crate::transport::budget::{self, Budget};
use crate::transport::compression::Coding;
use crate::transport::connections::RequestGuard;
use crate::transport::frames::PingPolicy;
use crate::transport::gathered::Gathered;
use crate::transport::guarded::Limits;
use crate::transport::lifetime::{Age, Lifetime};
use crate::transport::listen::{Door, DoorMetrics, Listener, Server};
use crate::transport::status::{self, Unread};
use crate::transport::tls::{Alpn, ServerTls};
use crate::wire::Signal;

/// Answers are a few bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Binds and serves.
///
/// # Errors
/// When the port cannot be bound or a TLS file is unusable.
pub async fn serve(
    config: &GrpcServerConfig,
    intake: Intake,
    budget: Arc<Budget>,
    metrics: DoorMetrics,
) -> Result<Server, BuildError> {
    serve_within(Limits::default(), config, intake, budget, metrics).await
}

/// The same with other time limits.
pub(crate) async fn serve_within(
    limits: Limits,
    config: &GrpcServerConfig,
    intake: Intake,
    budget: Arc<Budget>,
    metrics: DoorMetrics,
) -> Result<Server, BuildError> {
    let tls = match config.tls.as_ref() {
        Some(tls) => Some(ServerTls::new(tls, Alpn::Http2)?),
        None => None,
    };
    let listener = Listener::bind(&config.endpoint, config.transport, tls).await?;
    let policy = config.keepalive.enforcement_policy.as_ref();
    let pings = policy.map(|policy| PingPolicy {
        min_time: policy.ping_interval(),
        permit_without_stream: policy.permit_without_stream,
    });
    // Each request of a client that gives up is reset.
    let idle_frames = limits.idle_frames.max(2 * max_streams(config));
    let limits = Limits { idle_frames, pings, ..limits };
    let door =
        Door { max_connections: budget::max_connections(config.max_connections), limits, metrics };
    let exporting = Arc::new(Exporting {
        intake,
        budget: Arc::clone(&budget),
        max_message: config.max_message_bytes(),
        message_timeout: limits.message,
    });
    let builder = builder(config);
    let age = age(&config.keepalive);
    listener.serve(door, move |stream, lifetime: Lifetime| {
        let requests = lifetime.clone();
        let exporting = Arc::clone(&exporting);
        let service = service_fn(move |request| {
            let (exporting, mut guard) = (Arc::clone(&exporting), requests.request());
            async move { Ok::<_, Infallible>(exporting.answer(request, &mut guard).await) }
        });
        let window = budget.window(lifetime.connections());
        let mut builder = builder.clone();
        builder
            .initial_stream_window_size(window.min(bounds::STREAM_WINDOW))
            .initial_connection_window_size(window)
            .max_frame_size(window.clamp(bounds::MIN_FRAME, bounds::MAX_FRAME));
        let connection = builder.serve_connection(TokioIo::new(Gathered::new(stream)), service);
        async move { lifetime.run(connection, age).await }
    })
}

fn builder(config: &GrpcServerConfig) -> Builder<TokioExecutor> {
    let parameters = &config.keepalive.server_parameters;
    let or = |duration: Duration, default: u64| match duration {
        Duration::ZERO => Duration::from_secs(default),
        duration => duration,
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams(config))
        .max_header_list_size(bounds::MAX_HEADERS)
        .max_pending_accept_reset_streams(bounds::MAX_PENDING_RESETS)
        .max_local_error_reset_streams(bounds::MAX_ERROR_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .auto_date_header(false)
        .keep_alive_interval(or(parameters.time, 2 * 60 * 60))
        .keep_alive_timeout(or(parameters.timeout, 20));
    builder
}

/// Requests at a time on one connection.
fn max_streams(config: &GrpcServerConfig) -> u32 {
    match config.max_concurrent_streams {
        0 => bounds::MAX_STREAMS,
        streams => streams,
    }
}

fn age(keepalive: &ServerKeepaliveConfig) -> Age {
    let parameters = &keepalive.server_parameters;
    Age {
        max_idle: parameters.max_connection_idle,
        max_age: parameters.max_connection_age,
        grace: parameters.max_connection_age_grace,
    }
}

/// The three `Export` methods.
struct Exporting {
    intake: Intake,
    budget: Arc<Budget>,
    max_message: usize,
    message_timeout: Duration,
}

impl Exporting {
    /// Answers any request. Sees the headers before a byte of the message is read.
    async fn answer(
        &self,
        request: Request<Incoming>,
        guard: &mut RequestGuard,
    ) -> Response<Answer> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
        if request.method() != Method::POST || !is_grpc {
            self.intake.refuse(Refusal::Unsupported);
            return status::not_grpc();
        }
        match self.export(request, guard).await {
            Ok(()) => {
                let mut response = Response::new(Answer::Message);
                let content_type = HeaderValue::from_static("application/grpc");
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                response
            }
            Err(status) => status.into_http(),
        }
    }

    async fn export(
        &self,
        request: Request<Incoming>,
        guard: &mut RequestGuard,
    ) -> Result<(), Status> {
        let path = request.uri().path();
        let signal = Signal::ALL
            .into_iter()
            .find(|signal| self.intake.takes(*signal) && export_path(*signal).path() == path);
        let Some(signal) = signal else {
            self.intake.refuse(Refusal::Unsupported);
            return Err(status::unknown_method(path));
        };
        let metadata = self.intake.admit(&request, guard.peer()).await;
        let metadata = metadata.map_err(|error| status::unauthenticated(&error))?;
        let message = match tokio::time::timeout(self.message_timeout, self.read(request)).await {
            Ok(message) => message,
            Err(_) => Err(Unread::Timeout),
        };
        let message = message.map_err(|unread| {
            self.intake.refuse(Refusal::from(&unread));
            unread.to_grpc()
        })?;
        guard.received();
        self.intake.take(signal, message, metadata).await.map_err(|turned| match turned {
            Turned::Malformed(malformed) => status::malformed(&malformed),
            Turned::Rejected(rejected) => status::to_grpc(&rejected),
        })
    }

    /// Reads the one message of a request.
    async fn read(&self, request: Request<Incoming>) -> Result<Bytes, Unread> {
        let coding = coding(request.headers())?;
        let mut ticket = self.budget.begin().await?;
        message::read(request.into_body(), &mut ticket, coding, self.max_message).await
    }
}

/// How messages of a request are compressed.
fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Unread> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip") => Ok(Some(Coding::Gzip)),
        Some(b"zstd") => Ok(Some(Coding::Zstd)),
        Some(b"snappy") => Ok(Some(Coding::Snappy)),
        Some(other) => Err(Unread::UnknownCompression(String::from_utf8_lossy(other).into_owned())),
    }
}

/// A response's body.
#[derive(Debug, Default)]
enum Answer {
    /// Nothing: headers say it all.
    #[default]
    End,
    /// An empty export answer, then the trailers.
    Message,
    /// The trailers that say success.
    Trailers,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match *self {
            Answer::Message => {
                *self = Answer::Trailers;
                // Not compressed, and of no length.
                Frame::data(Bytes::from_static(&[0; 5]))
            }
            Answer::Trailers => {
                *self = Answer::End;
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
                Frame::trailers(trailers)
            }
            Answer::End => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Answer::End)
    }
}
