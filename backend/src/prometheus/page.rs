//! The page `/metrics`.

use std::sync::{Arc, Mutex};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use shared::clock;
use shared::transport::http::pages::{Content, Page};
use tokio::sync::Semaphore;

use super::collection::Collection;
use super::config::PrometheusConfig;
use super::gzip::Gzipped;
use super::metrics::PrometheusMetrics;
use super::names::Charset;
use super::negotiate::{Format, OpenMetrics, takes_gzip};
use super::protobuf::Classic;
use super::scrape::{Scrape, Style, Timestamps};
use super::set_gauge;

/// Scrapes at a time. They share a thread, so more would not be faster, and each may need memory
/// for a family.
const MAX_SCRAPES: usize = 8;

/// Answers scrapes.
pub(super) struct MetricsPage {
    places: Arc<Semaphore>,
    collection: Arc<Mutex<Collection>>,
    open_metrics: OpenMetrics,
    kept: Charset,
    timestamps: Timestamps,
    classic: Classic,
    metrics: PrometheusMetrics,
}

impl MetricsPage {
    pub(super) fn new(
        config: &PrometheusConfig,
        collection: Arc<Mutex<Collection>>,
        metrics: PrometheusMetrics,
    ) -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_SCRAPES)),
            collection,
            open_metrics: match config.enable_open_metrics {
                true => OpenMetrics::On,
                false => OpenMetrics::Off,
            },
            kept: config.strategy().charset(),
            timestamps: match config.send_timestamps {
                true => Timestamps::Written,
                false => Timestamps::LeftOut,
            },
            classic: match config.keep_classic_histograms {
                true => Classic::Beside,
                false => Classic::LeftOut,
            },
            metrics,
        }
    }

    /// How a scraper is answered that takes what its header `Accept` says.
    pub(super) fn style(&self, accept: &str) -> Style {
        Style {
            format: Format::negotiate(accept, self.open_metrics),
            kept: self.kept,
            timestamps: self.timestamps,
            classic: self.classic,
        }
    }
}

impl Page for MetricsPage {
    fn path(&self) -> &'static str {
        "/metrics"
    }

    fn answer(&self, request: &Parts) -> Response<Content> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.refused_scrapes.increment(1);
            return busy();
        };
        self.metrics.scrapes.increment(1);
        let style = self.style(&all(&request.headers, header::ACCEPT));
        let scrape = Scrape::new(Arc::clone(&self.collection), style, clock::now()).in_place(place);
        set_gauge(&self.metrics.renamed, scrape.renamed);
        let is_gzipped = takes_gzip(&all(&request.headers, header::ACCEPT_ENCODING));
        let content: Content = match is_gzipped {
            true => Box::pin(Gzipped::new(scrape)),
            false => Box::pin(scrape),
        };
        let mut response = Response::new(content);
        let headers = response.headers_mut();
        if let Ok(content_type) = HeaderValue::from_str(&style.format.content_type()) {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        if is_gzipped {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// The answer while others are under way.
fn busy() -> Response<Content> {
    let text = format!("{MAX_SCRAPES} scrapes are under way, try again later\n");
    let mut response = Response::new(Box::pin(text) as Content);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// A header that may be there several times, as one.
fn all(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}
