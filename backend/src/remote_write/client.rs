//! One attempt to hand a request to the receiver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use shared::auth::Unsigned;
use shared::clock;
use shared::config::HttpClientConfig;
use shared::metadata::Metadata;
use shared::service::{BuildError, Commons};
use shared::transport::http::request::{Answer, RequestError, Requester};
use shared::transport::status::{self, Written};

use super::config::{Message, RemoteWriteConfig};
use super::encode::Content;
use super::metrics::RemoteWriteMetrics;

/// What the receiver did with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It took it, and did not write so many of its samples and histograms.
    Taken {
        /// How many.
        not_written: u64,
    },
    /// It may take it later.
    ForNow { reason: String, retry_after: Option<Duration> },
    /// It will not take it.
    Never { reason: String },
}

/// Sends requests to one receiver.
pub(super) struct Client {
    requester: Requester,
    url: Uri,
    headers: HeaderMap,
    message: Message,
    /// Headers that go on, by the name under which metadata has them.
    forwarded: Vec<(String, HeaderName)>,
    timeout: Duration,
    metrics: RemoteWriteMetrics,
}

impl Client {
    /// # Errors
    /// When the endpoint cannot be read, a TLS file is unusable or the authenticator is not there.
    pub(super) fn new(
        config: &RemoteWriteConfig,
        commons: &Commons,
        metrics: RemoteWriteMetrics,
    ) -> Result<Self, BuildError> {
        let client = config.client();
        let url = url(config)?;
        let forwarded = config.include_metadata_keys.iter().map(|key| {
            let name = HeaderName::from_bytes(key.as_bytes());
            let name =
                name.map_err(|_| BuildError::new(format!("{key:?} is not a header name")))?;
            Ok((name.as_str().to_owned(), name))
        });
        let forwarded = forwarded.collect::<Result<Vec<_>, BuildError>>()?;
        commons.want(|wanted| forwarded.iter().for_each(|(name, _)| wanted.header(name)));
        Ok(Self {
            requester: Requester::new(client, url.scheme_str(), commons)?,
            url,
            headers: headers(client, config.protobuf_message),
            message: config.protobuf_message,
            forwarded,
            timeout: config.timeout(),
            metrics,
        })
    }

    /// Sends a request, compressed, that holds so much.
    pub(super) async fn send(
        &self,
        metadata: Option<&Metadata>,
        body: Bytes,
        content: Content,
    ) -> Outcome {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        for (known, name) in &self.forwarded {
            for value in metadata.map(|metadata| metadata.header(known)).unwrap_or_default() {
                request.headers_mut().append(name, value.clone());
            }
        }
        self.metrics.sent_batches.increment(1);
        let sending = self.requester.send(metadata, request);
        let answer = match self.timeout {
            Duration::ZERO => sending.await,
            timeout => match tokio::time::timeout(timeout, sending).await {
                Ok(answer) => answer,
                Err(_) => return for_now("the receiver did not answer in time"),
            },
        };
        match answer {
            Ok(answer) => self.outcome(&answer, content),
            Err(RequestError::Unsigned(Unsigned::ForNow(reason))) => for_now(reason),
            Err(RequestError::Unsigned(Unsigned::ForEver(reason))) => Outcome::Never { reason },
            Err(RequestError::Connection(error)) => for_now(status::connection_reason(&error)),
        }
    }

    fn outcome(&self, answer: &Answer, content: Content) -> Outcome {
        let now = clock::unix_ns();
        let written = status::written(answer.status, &answer.headers, &answer.body, now);
        let counts = match self.message {
            Message::V1 => None,
            Message::V2 => Counts::read(&answer.headers),
        };
        if let Some(counts) = &counts {
            self.metrics.written_samples.increment(counts.samples);
            self.metrics.written_histograms.increment(counts.histograms);
            self.metrics.written_exemplars.increment(counts.exemplars);
        }
        match (written, self.message, counts) {
            (Written::Taken, Message::V1, _) => Outcome::Taken { not_written: 0 },
            (Written::Taken, Message::V2, None) => Outcome::Never {
                reason: format!(
                    "the receiver does not say what it wrote, so it does not speak Remote-Write \
                     2.0 and may have dropped everything: set protobuf_message to {}",
                    Message::V1.name()
                ),
            },
            (Written::Taken, Message::V2, Some(counts)) => {
                let missing = |sent: u64, written: u64| sent.saturating_sub(written);
                let samples = missing(content.samples, counts.samples);
                let histograms = missing(content.histograms, counts.histograms);
                Outcome::Taken { not_written: samples + histograms }
            }
            (Written::ForNow { reason, retry_after }, ..) => {
                Outcome::ForNow { reason, retry_after }
            }
            (Written::UnknownMessage(reason), Message::V2, _) => Outcome::Never {
                reason: format!(
                    "{reason}: it does not speak Remote-Write 2.0: set protobuf_message to {}",
                    Message::V1.name()
                ),
            },
            (Written::UnknownMessage(reason) | Written::Never(reason), ..) => {
                Outcome::Never { reason }
            }
        }
    }
}

fn for_now(reason: impl Into<String>) -> Outcome {
    Outcome::ForNow { reason: reason.into(), retry_after: None }
}

/// What a receiver says it wrote; a count that it does not say is 0, since only the first is
/// required of every receiver.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    samples: u64,
    histograms: u64,
    exemplars: u64,
}

impl Counts {
    /// `None` if it says nothing at all.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let count = |what: &str| {
            let name = format!("x-prometheus-remote-write-{what}-written");
            headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok()
        };
        let [samples, histograms, exemplars] = ["samples", "histograms", "exemplars"].map(count);
        samples.or(histograms).or(exemplars)?;
        let [samples, histograms, exemplars] =
            [samples, histograms, exemplars].map(Option::unwrap_or_default);
        Some(Self { samples, histograms, exemplars })
    }
}

fn url(config: &RemoteWriteConfig) -> Result<Uri, BuildError> {
    let endpoint = &config.client().endpoint;
    endpoint.parse().map_err(|error| {
        BuildError::new(format!(
            "{endpoint:?} is not a URL such as https://host/api/v1/write: {error}"
        ))
    })
}

/// The receiver as metrics name it: without what may be secret.
pub(super) fn label(config: &RemoteWriteConfig) -> Result<String, BuildError> {
    let url = url(config)?;
    let scheme = url.scheme_str().unwrap_or_default();
    let host = url.authority().map_or("", |authority| authority.as_str());
    Ok(format!("{scheme}://{host}{}", url.path()))
}

fn headers(config: &HttpClientConfig, message: Message) -> HeaderMap {
    let mut headers: HeaderMap =
        config.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let user_agent = concat!("tailrace/", env!("CARGO_PKG_VERSION"));
    let (content_type, version) = match message {
        Message::V1 => ("application/x-protobuf", "0.1.0"),
        Message::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    };
    for (name, value) in [
        (header::USER_AGENT, user_agent),
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_ENCODING, "snappy"),
        (HeaderName::from_static("x-prometheus-remote-write-version"), version),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

/// Whether what came with one may leave with the other.
pub(super) fn alike(one: Option<&Arc<Metadata>>, other: Option<&Arc<Metadata>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: Option<[u64; 3]>) {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        let counts = Counts::read(&headers.collect());
        assert_eq!(counts.map(|of| [of.samples, of.histograms, of.exemplars]), expected);
    }

    #[test]
    fn a_receiver_says_what_it_wrote_or_nothing() {
        let samples = "x-prometheus-remote-write-samples-written";
        let histograms = "x-prometheus-remote-write-histograms-written";
        let exemplars = "x-prometheus-remote-write-exemplars-written";
        check(&[], None);
        check(&[(samples, "many")], None);
        check(&[(samples, "0")], Some([0, 0, 0]));
        check(&[(samples, "3"), (histograms, " 2 "), (exemplars, "1")], Some([3, 2, 1]));
    }
}
