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
use crate::transport::compression::Coding;
use crate::transport::listen::{Age, Lifetime, Listener, ListenerMetrics, Server};
use crate::transport::status::{self, Unread};
use crate::transport::tls::{Alpn, ServerTls};
use crate::wire::Signal;

/// Bytes of one request, and of one connection, that may be under way before we have read them.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Large frames save work per byte; clients cut requests into frames of this size.
const MAX_FRAME: u32 = 64 * 1024;

/// Requests at a time on one connection, unless configured.
const MAX_STREAMS: u32 = 1024;

/// Size of a request's headers, in HTTP/2's way of counting.
const MAX_HEADERS: u32 = 16 * 1024;

/// Streams that a client has reset before we looked at them, and streams that we have reset for
/// its errors: above these, the connection is closed (rapid reset, CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 256;

/// Answers are a few bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Time for a message to arrive.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Binds and serves.
///
/// # Errors
/// When the port cannot be bound or a TLS file is unusable.
pub async fn serve(
    config: &GrpcServerConfig,
    intake: Intake,
    metrics: ListenerMetrics,
) -> Result<Server, BuildError> {
    let tls = match config.tls.as_ref() {
        Some(tls) => Some(ServerTls::new(tls, Alpn::Http2)?),
        None => None,
    };
    let listener =
        Listener::bind(&config.endpoint, config.transport, config.max_connections, tls, metrics)
            .await?;
    let exporting = Arc::new(Exporting { intake, max_message: config.max_message_bytes() });
    let builder = builder(config);
    let age = age(&config.keepalive);
    listener.serve(move |stream, lifetime: Lifetime| {
        let requests = lifetime.clone();
        let exporting = Arc::clone(&exporting);
        let service = service_fn(move |request| {
            let (exporting, guard) = (Arc::clone(&exporting), requests.request());
            async move {
                let _guard = guard;
                Ok::<_, Infallible>(exporting.answer(request).await)
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        async move { lifetime.run(connection, age).await }
    })
}

fn builder(config: &GrpcServerConfig) -> Builder<TokioExecutor> {
    let parameters = &config.keepalive.server_parameters;
    let or = |duration: Duration, default: u64| match duration {
        Duration::ZERO => Duration::from_secs(default),
        duration => duration,
    };
    let max_streams = match config.max_concurrent_streams {
        0 => MAX_STREAMS,
        streams => streams,
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(max_streams)
        .max_header_list_size(MAX_HEADERS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .auto_date_header(false)
        .keep_alive_interval(or(parameters.time, 2 * 60 * 60))
        .keep_alive_timeout(or(parameters.timeout, 20));
    builder
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
    max_message: usize,
}

impl Exporting {
    async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
        if request.method() != Method::POST || !is_grpc {
            self.intake.refuse(Refusal::Unsupported);
            return status::not_grpc();
        }
        match self.export(request).await {
            Ok(()) => {
                let mut response = Response::new(Answer::Message);
                let content_type = HeaderValue::from_static("application/grpc");
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                response
            }
            Err(status) => status.into_http(),
        }
    }

    async fn export(&self, request: Request<Incoming>) -> Result<(), Status> {
        let path = request.uri().path();
        let signal = Signal::ALL
            .into_iter()
            .find(|signal| self.intake.takes(*signal) && export_path(*signal).path() == path);
        let Some(signal) = signal else {
            self.intake.refuse(Refusal::Unsupported);
            return Err(status::unknown_method(path));
        };
        let message = match tokio::time::timeout(MESSAGE_TIMEOUT, self.read(request)).await {
            Ok(message) => message,
            Err(_) => Err(Unread::Timeout),
        };
        let message = message.map_err(|unread| {
            self.intake.refuse(Refusal::from(&unread));
            unread.to_grpc()
        })?;
        self.intake.take(signal, message).await.map_err(|turned| match turned {
            Turned::Malformed(malformed) => status::malformed(&malformed),
            Turned::Rejected(rejected) => status::to_grpc(&rejected),
        })
    }

    /// Reads the one message of a request.
    async fn read(&self, request: Request<Incoming>) -> Result<Bytes, Unread> {
        let coding = coding(request.headers())?;
        message::read(request.into_body(), coding, self.max_message).await
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
