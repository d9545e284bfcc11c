//! A server of one page that is read by programs, such as what Prometheus scrapes.
//!
//! It has the settings of every HTTP server (TLS, authentication, time limits), and a thread of
//! its own: writing a large page takes nothing from those who take in data.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::cors::Cors;
use super::server::builder;
use crate::auth::ServerAuth;
use crate::config::{Headers, HttpServerConfig};
use crate::service::BuildError;
use crate::transport::connections::RequestGuard;
use crate::transport::guarded::Limits;
use crate::transport::lifetime::{Age, Lifetime};
use crate::transport::listen::{Door, DoorMetrics, Listener, Server};
use crate::transport::status::{self, Failure};
use crate::transport::tls::{Alpn, ServerTls};

/// How many connections are served at a time unless configured.
const MAX_CONNECTIONS: u32 = 64;

/// A page's content, in pieces.
pub type Content = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;

/// What is served.
pub trait Page: Send + Sync + 'static {
    /// Where it is, such as `/metrics`.
    fn path(&self) -> &str;

    /// Answers a request for it; called on the server's thread.
    fn answer(&self, request: &Parts) -> Response<Content>;
}

/// A server that runs until it is shut down or dropped.
#[derive(Debug)]
pub struct PageServer {
    address: Option<SocketAddr>,
    /// Takes the time by which requests under way must have ended; dropped, all end at once.
    stop: oneshot::Sender<Instant>,
    stopped: oneshot::Receiver<()>,
}

impl PageServer {
    /// Listens as `config` says and serves `page` on a thread named `name`, to whom `auth` lets
    /// in. Waits until it listens.
    ///
    /// # Errors
    /// When the address cannot be looked up or bound, a TLS file is unusable, or the thread cannot
    /// be made.
    pub fn start(
        name: &str,
        config: &HttpServerConfig,
        auth: Option<Arc<dyn ServerAuth>>,
        metrics: DoorMetrics,
        page: Arc<dyn Page>,
    ) -> Result<Self, BuildError> {
        let failed = |error: std::io::Error| BuildError::new(format!("cannot serve: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let (bound, listens) = mpsc::sync_channel(1);
        let (stop, stopping) = oneshot::channel();
        let (finished, stopped) = oneshot::channel();
        let config = config.clone();
        let run = async move {
            match listen(&config, auth, metrics, page).await {
                Err(error) => drop(bound.send(Err(error))),
                Ok(server) => {
                    drop(bound.send(Ok(server.address())));
                    if let Ok(deadline) = stopping.await {
                        server.shutdown(deadline).await;
                    }
                }
            }
            // Nobody may wait for it.
            let _ = finished.send(());
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(run))
            .map_err(failed)?;
        let gone = |_| Err(BuildError::new("the thread that serves has ended"));
        let address = listens.recv().unwrap_or_else(gone)?;
        Ok(Self { address, stop, stopped })
    }

    /// Where it listens, with the port that was really bound; a Unix socket has no such address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no further request, and waits for those under way until `deadline`.
    pub async fn shutdown(self, deadline: Instant) {
        // If it is gone already there is nothing to wait for.
        let _ = self.stop.send(deadline);
        drop(self.stopped.await);
    }
}

async fn listen(
    config: &HttpServerConfig,
    auth: Option<Arc<dyn ServerAuth>>,
    metrics: DoorMetrics,
    page: Arc<dyn Page>,
) -> Result<Server, BuildError> {
    let tls = match config.tls.as_ref() {
        Some(tls) => Some(ServerTls::new(tls, Alpn::Http)?),
        None => None,
    };
    let listener = Listener::bind(&config.endpoint, config.transport, tls).await?;
    let limits = Limits {
        frame: config.read_header_timeout,
        message: config.read_timeout,
        stall: config.write_timeout,
        ..Limits::default()
    };
    let max_connections = match config.max_connections {
        0 => MAX_CONNECTIONS,
        connections => connections,
    };
    let max_connections = usize::try_from(max_connections).unwrap_or(usize::MAX);
    let door = Door { max_connections, limits, metrics };
    let serving = Arc::new(Serving {
        page,
        auth,
        response_headers: config.response_headers.clone(),
        cors: config.cors.as_ref().and_then(Cors::new),
    });
    let builder = builder(config);
    let age = Age { max_idle: config.idle_timeout, ..Age::default() };
    listener.serve(door, move |stream, lifetime: Lifetime| {
        let requests = lifetime.clone();
        let serving = Arc::clone(&serving);
        let service = service_fn(move |request| {
            let (serving, guard) = (Arc::clone(&serving), requests.request());
            async move { Ok::<_, Infallible>(serving.answer(request, guard).await) }
        });
        let builder = builder.clone();
        async move {
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            lifetime.run(connection, age).await;
        }
    })
}

/// What each request is answered by.
struct Serving {
    page: Arc<dyn Page>,
    auth: Option<Arc<dyn ServerAuth>>,
    response_headers: Headers,
    cors: Option<Cors>,
}

impl Serving {
    /// Answers any request; its body is not read.
    async fn answer(
        &self,
        request: Request<Incoming>,
        mut guard: RequestGuard,
    ) -> Response<Counted> {
        guard.received();
        let (mut response, cors) = match &self.cors {
            None => (self.respond(request).await, HeaderMap::new()),
            Some(cors) if Cors::is_preflight(&request) => {
                (plain(StatusCode::NO_CONTENT, Bytes::new()), cors.preflight(request.headers()))
            }
            Some(cors) => {
                let headers = cors.actual(request.method(), request.headers());
                (self.respond(request).await, headers)
            }
        };
        let headers = response.headers_mut();
        for (name, value) in self.response_headers.iter() {
            // What the answer itself says stands, as its content type.
            headers.entry(name).or_insert_with(|| value.clone());
        }
        headers.extend(cors);
        response.map(|content| Counted { content, _guard: guard })
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Content> {
        let (head, _) = request.into_parts();
        if let Some(auth) = &self.auth
            && let Err(unauthenticated) = auth.check(&head.headers).await
        {
            let failure = Failure::from(&unauthenticated);
            return plain(failure.status, unauthenticated.to_string().into());
        }
        if head.uri.path() != self.page.path() {
            let (status, text) = status::not_found();
            return plain(status, text.into());
        }
        match head.method {
            // Of the answer to HEAD, hyper leaves out the content.
            Method::GET | Method::HEAD => self.page.answer(&head),
            _ => {
                let (status, text) = status::only_read();
                let mut response = plain(status, text.into());
                let allowed = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(header::ALLOW, allowed);
                response
            }
        }
    }
}

fn plain(status: StatusCode, text: Bytes) -> Response<Content> {
    let has_text = !text.is_empty();
    let mut response = Response::new(Box::pin(Full::new(text)) as Content);
    *response.status_mut() = status;
    if has_text {
        let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// Content whose request is under way until it is sent.
struct Counted {
    content: Content,
    _guard: RequestGuard,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.content.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
