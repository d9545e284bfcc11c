//! A client of one URL, over HTTP/1.1 or, with TLS, HTTP/2; idle connections are kept.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_service::Service;

use crate::auth::ClientAuth;
use crate::batch::Batch;
use crate::clock;
use crate::config::{Compression, Endpoint, HttpClientConfig};
use crate::consumer::Rejected;
use crate::otlp::{Encoding, read_answer};
use crate::queue::{Delivered, Sender};
use crate::service::{BuildError, Commons};
use crate::transport::compression::{compress, content_encoding};
use crate::transport::connect::{ConnectError, connect};
use crate::transport::status;
use crate::transport::stream::Stream;
use crate::transport::tls::{Alpn, ClientTls};

/// Largest answer that is read; it is only there to say what went wrong.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends batches to one URL by OTLP/HTTP.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    url: Uri,
    headers: HeaderMap,
    auth: Option<Arc<dyn ClientAuth>>,
    encoding: Encoding,
    compression: Compression,
}

impl HttpClient {
    /// A client of `url`, which may be another one than the settings'. Does not connect.
    ///
    /// # Errors
    /// When the URL cannot be read, a TLS file is unusable or the authenticator is not there.
    pub fn new(
        config: &HttpClientConfig,
        url: &str,
        encoding: Encoding,
        commons: &Commons,
    ) -> Result<Self, BuildError> {
        let url: Uri = url.parse().map_err(|error| {
            BuildError::new(format!("{url:?} is not a URL such as https://host:4318: {error}"))
        })?;
        let tls = match url.scheme_str() {
            Some("https") => Some(Arc::new(ClientTls::new(&config.tls, Alpn::Http)?)),
            _ => None,
        };
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
            .build(Connector { tls });
        let compression = config.compression;
        let headers = headers(config, encoding);
        let auth = match config.auth.authenticator() {
            None => None,
            Some(id) => Some(commons.client_auth(id)?),
        };
        Ok(Self { client, url, headers, auth, encoding, compression })
    }

    async fn export(&self, batch: Batch) -> Result<Delivered, Rejected> {
        let body = match self.body(&batch) {
            Ok(body) => body,
            Err(error) => {
                let reason = format!("the batch could not be encoded: {error}");
                return Err(Rejected::permanent(batch, reason));
            }
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(auth) = &self.auth
            && let Err(unsigned) =
                auth.sign(batch.metadata().map(|of| &**of), request.headers_mut())
        {
            return Err(unsigned.rejected(batch));
        }
        let (parts, body) = match self.client.request(request).await {
            Ok(answer) => answer.into_parts(),
            Err(error) => return Err(status::connection_failed(batch, &error)),
        };
        // The status counts even when the rest of the answer is cut off.
        let answer = Limited::new(body, MAX_ANSWER).collect().await;
        let answer = answer.map(Collected::to_bytes).unwrap_or_default();
        match parts.status.is_success() {
            true => Ok(delivered(&parts.headers, &answer)),
            false => {
                let now = clock::unix_ns();
                Err(status::from_http(batch, parts.status, &parts.headers, &answer, now))
            }
        }
    }

    fn body(&self, batch: &Batch) -> io::Result<Bytes> {
        let message = match self.encoding {
            Encoding::Protobuf => batch.bytes().clone(),
            Encoding::Json => {
                let mut json = Vec::with_capacity(2 * batch.bytes().len());
                crate::wire::json::encode(batch.signal(), batch.bytes(), &mut json)
                    .map_err(io::Error::other)?;
                json.into()
            }
        };
        match self.compression {
            Compression::None => Ok(message),
            compression => compress(compression, &message).map(Bytes::from),
        }
    }
}

fn headers(config: &HttpClientConfig, encoding: Encoding) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let user_agent = concat!("tailrace/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(user_agent));
    for (name, value) in config.headers.iter() {
        headers.insert(name, value.clone());
    }
    headers.insert(header::CONTENT_TYPE, encoding.content_type());
    if let Some(name) = content_encoding(config.compression) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    headers
}

/// What a success says besides; an answer that cannot be read says nothing, since the batch was
/// taken all the same.
fn delivered(headers: &HeaderMap, answer: &[u8]) -> Delivered {
    match Encoding::of(headers) {
        Some(Encoding::Protobuf) => read_answer(answer),
        Some(Encoding::Json) => {
            let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
            let partial = &answer["partialSuccess"];
            let rejected = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"]
                .iter()
                .find_map(|name| match &partial[*name] {
                    serde_json::Value::String(text) => text.parse().ok(),
                    number => number.as_u64(),
                });
            Delivered {
                rejected_items: rejected.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
                message: partial["errorMessage"].as_str().unwrap_or_default().to_owned(),
            }
        }
        None => Delivered::default(),
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpClient({})", self.url)
    }
}

#[async_trait]
impl Sender for HttpClient {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        self.export(batch).await
    }
}

/// Makes connections for hyper's pool.
#[derive(Clone)]
struct Connector {
    tls: Option<Arc<ClientTls>>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let endpoint = Endpoint { host, port, https: tls.is_some() };
        Box::pin(async move { Ok(TokioIo::new(connect(&endpoint, tls.as_deref()).await?)) })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.speaks_http2() {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}
