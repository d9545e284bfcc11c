//! Starts what the process says of itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use rand::RngExt;
use tokio_util::task::AbortOnDropHandle;

use super::admin::{self, Admin};
use super::config::{PrometheusConfig, TelemetryConfig};
use super::metrics::Descriptor;
use super::page::{Naming, Page, label_name, recorder};
use super::server::Server;
use super::{config::Level, logs};
use crate::clock;
use crate::service::BuildError;

/// The text format of Prometheus.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often what histograms recorded is folded into their buckets when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The recorder can be installed once in a process; a second start goes on with it.
static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// What the process is called.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `service.name`: the tier.
    pub name: String,
    /// `service.version`.
    pub version: String,
    /// `service.instance.id`; empty takes a random one.
    pub instance: String,
}

/// What was started; it ends when this is dropped.
#[derive(Debug)]
pub struct Telemetry {
    server: Option<Server>,
    page: Option<Page>,
    admin: Arc<Admin>,
    _upkeep: Option<AbortOnDropHandle<()>>,
}

impl Telemetry {
    /// Where `/metrics` is served, with the port that was really bound.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::address)
    }

    /// Who answers operators beside the page. At level `none` nobody is asked.
    pub fn admin(&self) -> &Arc<Admin> {
        &self.admin
    }

    /// The page as `/metrics` gives it; empty at level `none`.
    pub fn render(&self) -> String {
        self.page.as_ref().map(Page::render).unwrap_or_default()
    }
}

/// Installs logs and the metrics recorder and serves `/metrics` on a thread of its own.
///
/// To be called before any component is built, within a runtime.
///
/// # Errors
/// When the page's address cannot be bound.
pub fn start(
    config: &TelemetryConfig,
    identity: &Identity,
    descriptors: &[&'static [Descriptor]],
) -> Result<Telemetry, BuildError> {
    logs::start(&config.logs);
    if config.metrics.level == Level::None {
        return Ok(Telemetry { server: None, page: None, admin: Arc::default(), _upkeep: None });
    }
    let listen = config.page();
    let settings = listen.clone().unwrap_or_default();
    let target = target_labels(config, identity);
    let constant = constant_labels(&settings, &target);
    let handle = install(&constant, descriptors)?;
    let naming = Naming::of(&settings);
    let page = Page {
        handle: handle.clone(),
        naming,
        renamed: naming.renamed(descriptors),
        target: renamed(&target),
        constant,
        started: clock::now(),
    };
    let admin = Arc::<Admin>::default();
    let server =
        listen.map(|listen| serve(&listen, page.clone(), Arc::clone(&admin))).transpose()?;
    let upkeep = tokio::spawn(async move {
        let mut interval = tokio::time::interval(UPKEEP);
        loop {
            interval.tick().await;
            handle.run_upkeep();
        }
    });
    let upkeep = Some(AbortOnDropHandle::new(upkeep));
    Ok(Telemetry { server, page: Some(page), admin, _upkeep: upkeep })
}

fn install(
    constant: &[(String, String)],
    descriptors: &[&'static [Descriptor]],
) -> Result<PrometheusHandle, BuildError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(installed) = &*installed {
        return Ok(installed.clone());
    }
    let recorder = recorder(constant, descriptors);
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_| BuildError::new("another metrics recorder is installed in this process"))?;
    *installed = Some(handle.clone());
    Ok(handle)
}

fn serve(listen: &PrometheusConfig, page: Page, admin: Arc<Admin>) -> Result<Server, BuildError> {
    let metrics = get(move || {
        let text = page.render();
        async move { ([(CONTENT_TYPE, TEXT_FORMAT)], text) }
    });
    let router = admin::serve(Router::new().route("/metrics", metrics), admin);
    let (host, port) = (listen.host.as_str(), listen.port);
    Server::start("metrics", (host, port), router)
        .map_err(|error| BuildError::new(format!("cannot serve metrics on {host}:{port}: {error}")))
}

/// The attributes of the process: what it is by itself, changed by the configuration.
fn target_labels(config: &TelemetryConfig, identity: &Identity) -> Vec<(String, String)> {
    let instance = match identity.instance.is_empty() {
        true => random_uuid(&mut rand::rng()),
        false => identity.instance.clone(),
    };
    let automatic = [
        ("service.name", identity.name.clone()),
        ("service.version", identity.version.clone()),
        ("service.instance.id", instance),
    ];
    let configured = &config.resource.attributes;
    let mut target: Vec<(String, String)> = automatic
        .into_iter()
        .filter(|(name, _)| !configured.contains_key(*name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (name, value) in configured {
        target.extend(value.as_ref().map(|value| (name.clone(), value.clone())));
    }
    target
}

fn constant_labels(page: &PrometheusConfig, target: &[(String, String)]) -> Vec<(String, String)> {
    let rules = &page.with_resource_constant_labels;
    let matches =
        |rules: &[String], name: &str| rules.iter().any(|rule| rule == "*" || rule == name);
    let chosen: Vec<_> = target
        .iter()
        .filter(|(name, _)| matches(&rules.included, name) && !matches(&rules.excluded, name))
        .cloned()
        .collect();
    renamed(&chosen)
}

fn renamed(attributes: &[(String, String)]) -> Vec<(String, String)> {
    attributes.iter().map(|(name, value)| (label_name(name), value.clone())).collect()
}

/// A random UUID (version 4).
fn random_uuid(rng: &mut impl rand::Rng) -> String {
    let (high, low): (u64, u64) = (rng.random(), rng.random());
    let (time, middle) = (high >> 32, high >> 16 & 0xffff);
    let (version, variant) = (high & 0x0fff | 0x4000, low >> 48 & 0x3fff | 0x8000);
    let node = low & 0xffff_ffff_ffff;
    format!("{time:08x}-{middle:04x}-{version:04x}-{variant:04x}-{node:012x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::telemetry::config::{ConstantLabelsConfig, ResourceConfig};

    fn identity() -> Identity {
        Identity { name: "edge".into(), version: "1.0".into(), instance: String::new() }
    }

    #[tokio::test]
    async fn the_page_is_served_where_it_says() {
        let mut config = TelemetryConfig::default();
        config.metrics.address = Some("localhost:0".into());
        let telemetry = start(&config, &identity(), &[]).unwrap();
        let mut stream =
            tokio::net::TcpStream::connect(telemetry.address().unwrap()).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(response.contains(TEXT_FORMAT), "{response}");
        assert!(response.contains("otelcol_process_uptime "), "{response}");
        assert!(response.contains("service_name=\"edge\""), "{response}");
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let mut config = TelemetryConfig::default();
        config.metrics.address = Some(address.clone());
        let error = start(&config, &identity(), &[]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot serve metrics on {address}: ")), "{error}");
    }

    #[test]
    fn the_resource_adds_replaces_and_takes_away() {
        let attributes = BTreeMap::from([
            ("service.name".to_owned(), Some("gateway".to_owned())),
            ("service.version".to_owned(), None),
            ("zone".to_owned(), Some("a".to_owned())),
        ]);
        let config = TelemetryConfig {
            resource: ResourceConfig { attributes },
            ..TelemetryConfig::default()
        };
        let target = target_labels(&config, &identity());
        let names: Vec<_> = target.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["service.instance.id", "service.name", "zone"]);
        let page = PrometheusConfig {
            with_resource_constant_labels: ConstantLabelsConfig {
                included: vec!["*".into()],
                excluded: vec!["service.instance.id".into()],
            },
            ..PrometheusConfig::default()
        };
        let labels = constant_labels(&page, &target);
        let pairs: Vec<_> = labels.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(pairs, [("service_name", "gateway"), ("zone", "a")]);
    }
}
