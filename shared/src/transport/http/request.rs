//! Sends requests whose bodies are whole, over HTTP/1.1 or, with TLS, HTTP/2; idle connections are
//! kept.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_service::Service;

use crate::auth::{ClientAuth, HttpRequest, Unsigned};
use crate::config::{Endpoint, HttpClientConfig, Proxy};
use crate::metadata::Metadata;
use crate::service::{BuildError, Commons};
use crate::transport::connect::{ConnectError, connect, connect_by};
use crate::transport::stream::Stream;
use crate::transport::tls::{Alpn, ClientTls};

/// Largest answer that is read; it is only there to say what went wrong.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends requests, signed if its settings say so.
#[derive(Clone)]
pub struct Requester {
    client: Client<Connector, Full<Bytes>>,
    auth: Option<Arc<dyn ClientAuth>>,
    /// Signs requests in at the proxy that they go to; a tunnel was signed in for when it was made.
    proxy_authorization: Option<HeaderValue>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whether it is a success.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; empty if the rest of the answer was cut off or is too long.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub enum RequestError {
    /// It was not sent.
    Unsigned(Unsigned),
    /// There was no connection, or it failed.
    Connection(hyper_util::client::legacy::Error),
}

impl RequestError {
    /// The error of the connection, if it is one.
    pub fn connection(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RequestError::Unsigned(_) => None,
            RequestError::Connection(error) => Some(error),
        }
    }
}

impl Requester {
    /// For requests to URLs of this scheme. Does not connect.
    ///
    /// # Errors
    /// When a TLS file is unusable, the proxy is none or the authenticator is not there.
    pub fn new(
        config: &HttpClientConfig,
        scheme: Option<&str>,
        commons: &Commons,
    ) -> Result<Self, BuildError> {
        let tls = match scheme {
            Some("https") => Some(Arc::new(ClientTls::new(&config.tls, Alpn::Http)?)),
            _ => None,
        };
        let proxy = config.proxy();
        let proxy = proxy.map_err(|problem| BuildError::new(format!("proxy_url: {problem}")))?;
        let authorization = proxy.as_ref().and_then(|proxy| proxy.authorization.clone());
        let proxy_authorization = authorization.filter(|_| tls.is_none());
        let some = |duration: Duration| (!duration.is_zero()).then_some(duration);
        let idle = match (config.disable_keep_alives, config.max_idle_conns_per_host) {
            (true, _) => 0,
            (false, 0) => config.max_idle_conns,
            (false, per_host) => per_host.min(config.max_idle_conns),
        };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(some(config.idle_conn_timeout))
            .pool_max_idle_per_host(idle)
            .build(Connector { tls, proxy: proxy.map(Arc::new) });
        let auth = match config.auth.authenticator() {
            None => None,
            Some(id) => Some(commons.client_auth(id)?),
        };
        Ok(Self { client, auth, proxy_authorization })
    }

    /// Sends a request for what came with `metadata`.
    ///
    /// # Errors
    /// When it cannot be signed, or no answer came. An answer that is no success is none.
    pub async fn send(
        &self,
        metadata: Option<&Metadata>,
        request: Request<Bytes>,
    ) -> Result<Answer, RequestError> {
        let (mut parts, body) = request.into_parts();
        if let Some(auth) = &self.auth {
            let mut request = HttpRequest {
                method: &parts.method,
                url: &parts.uri,
                body: &body,
                headers: &mut parts.headers,
            };
            auth.sign_http(metadata, &mut request).map_err(RequestError::Unsigned)?;
        }
        if let Some(value) = &self.proxy_authorization {
            parts.headers.insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        let request = Request::from_parts(parts, Full::new(body));
        let answer = self.client.request(request).await.map_err(RequestError::Connection)?;
        let (parts, body) = answer.into_parts();
        // The status counts even when the rest of the answer is cut off.
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// Makes connections for hyper's pool.
#[derive(Clone)]
struct Connector {
    tls: Option<Arc<ClientTls>>,
    proxy: Option<Arc<Proxy>>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (tls, proxy) = (self.tls.clone(), self.proxy.clone());
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let endpoint = Endpoint { host, port, https: tls.is_some() };
        Box::pin(async move {
            let stream = match proxy {
                None => connect(&endpoint, tls.as_deref()).await?,
                Some(proxy) => connect_by(&proxy, &endpoint, tls.as_deref()).await?,
            };
            Ok(TokioIo::new(stream))
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.is_by_proxy());
        match self.speaks_http2() {
            true => connected.negotiated_h2(),
            false => connected,
        }
    }
}
