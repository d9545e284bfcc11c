//! The OTLP/HTTP server: HTTP/1.1 and HTTP/2, protobuf and JSON.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use super::cors::Cors;
use crate::config::{Headers, HttpServerConfig};
use crate::otlp::{Encoding, Intake, OtlpHttpServerConfig, Refusal, Turned};
use crate::service::BuildError;
use crate::transport::bounds;
use crate::transport::budget::{self, Budget};
use crate::transport::compression::{self, Coding};
use crate::transport::connections::RequestGuard;
use crate::transport::guarded::Limits;
use crate::transport::lifetime::{Age, Lifetime};
use crate::transport::listen::{Door, DoorMetrics, Listener, Server};
use crate::transport::status::{self, Failure, Unread};
use crate::transport::tls::{Alpn, ServerTls};
use crate::wire::Signal;

/// Quiet time before a ping over HTTP/2, to find out that a client is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Binds and serves.
///
/// # Errors
/// When the port cannot be bound or a TLS file is unusable.
pub async fn serve(
    config: &OtlpHttpServerConfig,
    intake: Intake,
    budget: Arc<Budget>,
    metrics: DoorMetrics,
) -> Result<Server, BuildError> {
    serve_within(Limits::default(), config, intake, budget, metrics).await
}

/// The same with other time limits, where the configuration has none of its own.
pub(crate) async fn serve_within(
    limits: Limits,
    config: &OtlpHttpServerConfig,
    intake: Intake,
    budget: Arc<Budget>,
    metrics: DoorMetrics,
) -> Result<Server, BuildError> {
    let settings = &config.server;
    let tls = match settings.tls.as_ref() {
        Some(tls) => Some(ServerTls::new(tls, Alpn::Http)?),
        None => None,
    };
    let listener = Listener::bind(&settings.endpoint, settings.transport, tls).await?;
    let limits = Limits {
        frame: settings.read_header_timeout,
        stall: settings.write_timeout,
        message: settings.read_timeout,
        ..limits
    };
    let door = Door {
        max_connections: budget::max_connections(settings.max_connections),
        limits,
        metrics,
    };
    let exporting = Arc::new(Exporting::new(config, intake, Arc::clone(&budget)));
    let builder = builder(settings);
    let age = Age { max_idle: settings.idle_timeout, ..Age::default() };
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
            .http2()
            .initial_stream_window_size(window.min(bounds::STREAM_WINDOW))
            .initial_connection_window_size(window);
        async move {
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            lifetime.run(connection, age).await;
        }
    })
}

pub(super) fn builder(config: &HttpServerConfig) -> Builder<TokioExecutor> {
    let some = |duration: Duration| (!duration.is_zero()).then_some(duration);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(some(config.read_header_timeout))
        .keep_alive(config.keep_alives_enabled)
        .max_buf_size(bounds::HTTP_FRAME as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_frame_size(bounds::HTTP_FRAME)
        .max_concurrent_streams(bounds::MAX_STREAMS)
        .max_header_list_size(bounds::MAX_HEADERS)
        .max_pending_accept_reset_streams(bounds::MAX_PENDING_RESETS)
        .max_local_error_reset_streams(bounds::MAX_ERROR_RESETS)
        .keep_alive_interval(KEEP_ALIVE);
    builder
}

/// The paths of the three signals.
struct Exporting {
    intake: Intake,
    budget: Arc<Budget>,
    paths: Vec<(String, Signal)>,
    max_body: usize,
    body_timeout: Duration,
    /// The `Content-Encoding`s that are taken; none at all leaves bodies as they are.
    compressions: Vec<String>,
    response_headers: Headers,
    cors: Option<Cors>,
}

impl Exporting {
    fn new(config: &OtlpHttpServerConfig, intake: Intake, budget: Arc<Budget>) -> Self {
        let signals = Signal::ALL.into_iter().filter(|signal| intake.takes(*signal));
        Self {
            paths: signals.map(|signal| (config.path(signal), signal)).collect(),
            intake,
            budget,
            max_body: config.server.max_body_bytes(),
            body_timeout: config.server.read_timeout,
            compressions: config.server.compression_algorithms.clone(),
            response_headers: config.server.response_headers.clone(),
            cors: config.server.cors.as_ref().and_then(Cors::new),
        }
    }

    /// Answers any request: what browsers ask beforehand here, the rest by [`Self::respond`].
    async fn answer(
        &self,
        request: Request<Incoming>,
        guard: &mut RequestGuard,
    ) -> Response<Full<Bytes>> {
        let (mut response, cors) = match &self.cors {
            None => (self.respond(request, guard).await, HeaderMap::new()),
            Some(cors) if Cors::is_preflight(&request) => {
                (no_content(), cors.preflight(request.headers()))
            }
            Some(cors) => {
                let headers = cors.actual(request.method(), request.headers());
                (self.respond(request, guard).await, headers)
            }
        };
        let headers = response.headers_mut();
        for (name, value) in self.response_headers.iter() {
            // What the answer itself says stands, as its content type.
            headers.entry(name).or_insert_with(|| value.clone());
        }
        headers.extend(cors);
        response
    }

    /// Answers what is to be an export. Sees the headers before a byte of the body is read.
    async fn respond(
        &self,
        request: Request<Incoming>,
        guard: &mut RequestGuard,
    ) -> Response<Full<Bytes>> {
        let (signal, encoding) = match self.route(&request) {
            Ok(route) => route,
            Err((status, text)) => {
                self.intake.refuse(Refusal::Unsupported);
                return plain(status, text);
            }
        };
        match self.export(request, signal, encoding, guard).await {
            Ok(()) => success(encoding),
            Err(failure) => failed(&failure, encoding),
        }
    }

    fn route(
        &self,
        request: &Request<Incoming>,
    ) -> Result<(Signal, Encoding), (StatusCode, &'static str)> {
        let path = request.uri().path();
        let (_, signal) =
            self.paths.iter().find(|(known, _)| known == path).ok_or_else(status::not_found)?;
        if request.method() != Method::POST {
            return Err(status::wrong_method());
        }
        let encoding = Encoding::of(request.headers()).ok_or_else(status::wrong_content_type)?;
        Ok((*signal, encoding))
    }

    async fn export(
        &self,
        request: Request<Incoming>,
        signal: Signal,
        encoding: Encoding,
        guard: &mut RequestGuard,
    ) -> Result<(), Failure> {
        let metadata = self.intake.admit(&request, guard.peer()).await;
        let metadata = metadata.map_err(|error| Failure::from(&error))?;
        let body = self.read(request).await.map_err(|unread| {
            self.intake.refuse(Refusal::from(&unread));
            Failure::from(&unread)
        })?;
        guard.received();
        let message = match encoding {
            Encoding::Protobuf => body,
            Encoding::Json => crate::wire::json::decode(signal, &body)
                .map_err(|error| {
                    self.intake.refuse(Refusal::Malformed);
                    Failure::from(&Unread::Broken(error.to_string().into()))
                })?
                .into(),
        };
        self.intake.take(signal, message, metadata).await.map_err(|turned| match turned {
            Turned::Malformed(malformed) => Failure::from(&malformed),
            Turned::Rejected(rejected) => status::http_failure(&rejected),
        })
    }

    /// Reads and inflates a body, both under the limit.
    async fn read(&self, request: Request<Incoming>) -> Result<Bytes, Unread> {
        let coding = self.coding(request.headers())?;
        let mut ticket = self.budget.begin().await?;
        let read = ticket.read(request.into_body(), self.max_body);
        let body = match self.body_timeout {
            Duration::ZERO => read.await?,
            timeout => tokio::time::timeout(timeout, read).await.map_err(|_| Unread::Timeout)??,
        };
        match coding {
            None => Ok(body),
            Some(coding) => compression::inflate(coding, &body, self.max_body).map(Bytes::from),
        }
    }

    /// How a body is compressed.
    fn coding(&self, headers: &HeaderMap) -> Result<Option<Coding>, Unread> {
        // An empty list means that bodies are not looked at, as in the Collector.
        if self.compressions.is_empty() {
            return Ok(None);
        }
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(None) };
        let name = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        match Coding::by_name(&name) {
            _ if matches!(name.as_str(), "" | "identity") => Ok(None),
            Some(coding) if self.compressions.contains(&name) => Ok(Some(coding)),
            _ => Err(Unread::UnknownCompression(name)),
        }
    }
}

/// The answer to a preflight; its headers say what is allowed.
fn no_content() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn success(encoding: Encoding) -> Response<Full<Bytes>> {
    let body = match encoding {
        Encoding::Protobuf => Bytes::new(),
        Encoding::Json => Bytes::from_static(b"{}"),
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, encoding.content_type());
    response
}

fn failed(failure: &Failure, encoding: Encoding) -> Response<Full<Bytes>> {
    let body = match encoding {
        Encoding::Protobuf => failure.protobuf(),
        Encoding::Json => failure.json(),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = failure.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, encoding.content_type());
    if let Some(seconds) = failure.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}
