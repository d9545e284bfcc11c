//! Sends batches to one URL.

use std::fmt;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};

use super::request::{RequestError, Requester};
use crate::batch::Batch;
use crate::clock;
use crate::config::HttpClientConfig;
use crate::consumer::Rejected;
use crate::otlp::{Encoding, read_answer};
use crate::queue::{Delivered, Sender};
use crate::service::{BuildError, Commons};
use crate::transport::compression::{Compressor, content_encoding};
use crate::transport::status;

/// Sends batches to one URL by OTLP/HTTP.
#[derive(Clone)]
pub struct HttpClient {
    requester: Requester,
    url: Uri,
    headers: HeaderMap,
    encoding: Encoding,
    compressor: Compressor,
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
        let requester = Requester::new(config, url.scheme_str(), commons)?;
        let compressor = Compressor::new(config.compression, &config.compression_params);
        let headers = headers(config, encoding);
        Ok(Self { requester, url, headers, encoding, compressor })
    }

    async fn export(&self, batch: Batch) -> Result<Delivered, Rejected> {
        let body = match self.body(&batch) {
            Ok(body) => body,
            Err(error) => {
                let reason = format!("the batch could not be encoded: {error}");
                return Err(Rejected::permanent(batch, reason));
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = match self.requester.send(batch.metadata().map(|of| &**of), request).await {
            Ok(answer) => answer,
            Err(RequestError::Unsigned(unsigned)) => return Err(unsigned.rejected(batch)),
            Err(RequestError::Connection(error)) => {
                return Err(status::connection_failed(batch, &error));
            }
        };
        match answer.status.is_success() {
            true => Ok(delivered(&answer.headers, &answer.body)),
            false => {
                let now = clock::unix_ns();
                Err(status::from_http(batch, answer.status, &answer.headers, &answer.body, now))
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
        match self.compressor.compresses() {
            true => self.compressor.compress(&message).map(Bytes::from),
            false => Ok(message),
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
