//! The endpoints of a Kubernetes service, by its `EndpointSlices`.
//!
//! They are listed once and then watched; a watch that ends is taken up at the version it came to,
//! and a version that is no longer known leads to a new list. The API knows who is ready, so no
//! second answer is waited for; but more than half at once are held back, and the set is never
//! emptied: when a whole node pool is marked as not ready, its pods often serve all the same, and
//! a ring without backends could do nothing but refuse.

mod api;
mod slices;
#[cfg(test)]
mod tests;

use std::path::Path as FilePath;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::{debug, warn};

use self::api::{Api, ApiError, Selection, Watch};
use self::slices::{Event, Naming, Slices};
use super::lookup::DEFAULT_SHRINK_HOLD;
use super::report::{Outcome, Report};
use super::{Resolver, ResolverSection};
use crate::clock;
use crate::config::{Path, Problems};
use crate::membership::members::{Answer, Members, Patience};
use crate::telemetry::thin::Thin;
use crate::{config_struct, metric_set};

config_struct! {
    /// `resolver::k8s`.
    #[derive(PartialEq)]
    pub struct K8sConfig {
        /// The service: `name`, `name.namespace` or `name.namespace.svc.cluster.local`. Without a
        /// namespace it is in the pod's own.
        pub service: String = String::new(),
        /// Ports of every endpoint, a backend for each; without any they are dialled at 4317.
        pub ports: Vec<u16> = Vec::new(),
        /// Time for a list, and after which a watch is begun anew; 0 is 1m.
        pub timeout: Duration = DEFAULT_TIMEOUT,
        /// Whether backends are named by their pods' hostnames, `pod-0.service.namespace`.
        pub return_hostnames: bool = false,
        /// Ours: when more than half would leave within this time, they stay for it, and leave if
        /// they are still missing then; 0 lets them go at once.
        pub shrink_hold: Duration = DEFAULT_SHRINK_HOLD,
        /// Ours: URL of the API server, instead of the one in the pod's environment. Over `http://`
        /// no token is sent.
        pub api_server: String = String::new(),
        /// Ours: directory with the service account's `token`, `ca.crt` and `namespace`.
        pub service_account: String = "/var/run/secrets/kubernetes.io/serviceaccount".to_owned(),
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after a first failure; it doubles up to the longest, and is spread by half.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A watch that lasted this long was a good one, even if it brought nothing.
const GOOD_WATCH: Duration = Duration::from_secs(1);

metric_set! {
    /// What the `k8s` resolver counts besides.
    pub(super) struct K8sMetrics ["resolver"];
    /// Current number of endpoints passed over because they have no hostname to be named by.
    num_endpoints_without_hostname: Gauge =
        "otelcol_loadbalancer_num_endpoints_without_hostname", "{endpoints}";
}

impl ResolverSection for K8sConfig {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if let Err(error) = ServiceName::parse(&self.service) {
            problems.report(&at.key("service"), error);
        }
        for (index, port) in self.ports.iter().enumerate() {
            if *port == 0 {
                problems.report(&at.key("ports").index(index), "invalid port 0");
            }
        }
        if !self.api_server.is_empty()
            && let Err(error) = api::read_url(&self.api_server)
        {
            problems.report(&at.key("api_server"), error);
        }
    }

    fn build(&self) -> Box<dyn Resolver> {
        let service = ServiceName::parse(&self.service).expect("validated");
        let timeout = if self.timeout.is_zero() { DEFAULT_TIMEOUT } else { self.timeout };
        let patience = Patience { misses: 1, shrink_hold: self.shrink_hold };
        Box::new(K8s {
            config: Self { timeout, ..self.clone() },
            service,
            members: Members::new(patience),
            followed: None,
            api: None,
            retry_at: None,
            pause: FIRST_PAUSE,
            report: Report::new("k8s", &self.service),
            metrics: K8sMetrics::new(&[("resolver", "k8s")]),
            nameless: Thin::new(),
        })
    }
}

/// A service as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ServiceName {
    name: String,
    namespace: Option<String>,
}

impl ServiceName {
    /// Source: contrib `loadbalancingexporter/resolver_k8s.go`
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("no service specified to resolve the backends".to_owned());
        }
        let labels: Vec<&str> = text.split('.').collect();
        let is_label = |label: &&str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let namespace = match labels[..] {
            _ if !labels.iter().all(is_label) => None,
            [_] => Some(None),
            [_, namespace] | [_, namespace, "svc", _, ..] => Some(Some(namespace.to_owned())),
            _ => None,
        };
        match namespace {
            Some(namespace) => Ok(Self { name: labels[0].to_owned(), namespace }),
            None => Err(format!(
                "invalid Kubernetes service FQDN {text:?}, expected name, name.namespace or \
                 name.namespace.svc.cluster.local"
            )),
        }
    }

    /// The service, in the pod's own namespace if none is configured.
    async fn select(&self, service_account: &FilePath) -> Selection {
        let service = self.name.clone();
        if let Some(namespace) = &self.namespace {
            return Selection { namespace: namespace.clone(), service };
        }
        let file = service_account.join("namespace");
        let read = tokio::fs::read_to_string(&file).await;
        let namespace = match read.as_deref().map(str::trim) {
            Ok(namespace) if !namespace.is_empty() => namespace.to_owned(),
            _ => {
                warn!(service, file = %file.display(), "no namespace found, using \"default\"");
                "default".to_owned()
            }
        };
        Selection { namespace, service }
    }
}

struct K8s {
    config: K8sConfig,
    service: ServiceName,
    members: Members<String>,
    /// Once the service's namespace is known.
    followed: Option<Followed>,
    /// Made anew after a failure, so that a changed certificate is read.
    api: Option<Api>,
    /// Nothing is asked before, after a failure.
    retry_at: Option<Instant>,
    /// The next pause after a failure.
    pause: Duration,
    report: Report,
    metrics: K8sMetrics,
    nameless: Thin,
}

/// What is known of the service's slices.
struct Followed {
    selection: Selection,
    slices: Slices,
    /// Up to where they are known; a list is needed if there is none.
    version: Option<String>,
    watch: Option<Watch>,
}

/// What one step brought.
enum Step {
    /// The slices are others.
    Slices { passed_over: usize },
    /// All is as it was, and known to be.
    Nothing,
    /// The time of a hold is over.
    HoldOver,
    /// The server ended the watch.
    WatchEnded,
}

#[async_trait]
impl Resolver for K8s {
    async fn changed(&mut self) -> Vec<String> {
        loop {
            if let Some(retry_at) = self.retry_at {
                tokio::time::sleep_until(retry_at).await;
                self.retry_at = None;
            }
            let changed = match self.step().await {
                Ok(Step::Slices { passed_over }) => self.look(passed_over),
                Ok(Step::HoldOver) => self.learn(0),
                Ok(Step::Nothing) => {
                    self.note_age();
                    false
                }
                Ok(Step::WatchEnded) => {
                    if !self.end_watch() {
                        self.back_off();
                    }
                    false
                }
                Err(error) => {
                    self.fail(&error);
                    self.back_off();
                    false
                }
            };
            if changed {
                return self.members.iter().cloned().collect();
            }
        }
    }
}

impl K8s {
    /// Goes on from where the last step ended: a list, then a watch, then its events.
    async fn step(&mut self) -> Result<Step, ApiError> {
        let service_account = FilePath::new(&self.config.service_account);
        let followed = match &mut self.followed {
            Some(followed) => followed,
            None => {
                let selection = self.service.select(service_account).await;
                self.followed.insert(Followed::new(selection, &self.config))
            }
        };
        if followed.watch.is_some() {
            let hold_ends = self.members.hold_ends();
            return tokio::select! {
                // What has come is learned before the end of a hold is judged by it.
                biased;
                step = followed.follow() => step,
                () = until(hold_ends) => Ok(Step::HoldOver),
            };
        }
        let api = match &self.api {
            Some(api) => api,
            None => self.api.insert(Api::new(&self.config.api_server, service_account)?),
        };
        followed.begin(api, self.config.timeout).await
    }

    /// Whether the set changed by what is in the slices now.
    fn look(&mut self, passed_over: usize) -> bool {
        let Some(followed) = &self.followed else { return false };
        let without_hostname = followed.slices.without_hostname();
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        self.metrics.num_endpoints_without_hostname.set(without_hostname as f64);
        if without_hostname > 0 {
            self.report.incomplete();
            if let Some(suppressed) = self.nameless.pass(clock::now()) {
                let service = &self.config.service;
                warn!(
                    service,
                    without_hostname,
                    suppressed,
                    "endpoints without a hostname passed over: return_hostnames needs the headless \
                     service of a StatefulSet"
                );
            }
        }
        if followed.slices.is_empty() {
            self.report.failed(Outcome::Empty, &"no endpoint is ready", self.members.len());
            return false;
        }
        self.report.answered();
        self.learn(passed_over)
    }

    /// Learns from the slices as they are, also when they are as they were.
    fn learn(&mut self, passed_over: usize) -> bool {
        let Some(followed) = &self.followed else { return false };
        let found = followed.slices.backends().into_iter().collect();
        let mut change = self.members.learn(&Answer::whole(found), clock::now());
        change.passed_over += passed_over;
        self.report.changed(&change, self.members.len());
        change.any()
    }

    /// Nothing is new, and that is known.
    fn note_age(&mut self) {
        match self.followed.as_ref().is_some_and(|followed| !followed.slices.is_empty()) {
            true => self.report.known(),
            false => drop(self.report.note_age()),
        }
    }

    /// Lets go of a watch; whether it was a good one.
    fn end_watch(&mut self) -> bool {
        let watch = self.followed.as_mut().and_then(|followed| followed.watch.take());
        let good = watch.is_some_and(|watch| watch.age() >= GOOD_WATCH);
        if good {
            self.pause = FIRST_PAUSE;
        }
        good
    }

    fn fail(&mut self, error: &ApiError) {
        self.end_watch();
        if error.is_gone {
            debug!(service = self.config.service, %error, "listing again");
            if let Some(followed) = &mut self.followed {
                followed.version = None;
            }
            return;
        }
        self.api = None;
        self.report.failed(error.outcome, error, self.members.len());
    }

    fn back_off(&mut self) {
        let spread = rand::random_range(0.5..=1.5);
        self.retry_at = Some(Instant::now() + self.pause.mul_f64(spread));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl Followed {
    fn new(selection: Selection, config: &K8sConfig) -> Self {
        let behind = format!(".{}.{}", selection.service, selection.namespace);
        let behind_hostname = config.return_hostnames.then_some(behind);
        let naming = Naming { behind_hostname, ports: config.ports.clone() };
        Self { selection, slices: Slices::new(naming), version: None, watch: None }
    }

    /// Lists what there is, or begins to watch what comes after it.
    async fn begin(&mut self, api: &Api, timeout: Duration) -> Result<Step, ApiError> {
        if let Some(version) = &self.version {
            self.watch = Some(api.watch(&self.selection, version, timeout).await?);
            return Ok(Step::Nothing);
        }
        let (slices, version) = api.list(&self.selection, timeout).await?;
        self.slices.clear();
        let passed_over = slices.iter().map(|slice| self.slices.put(slice)).sum();
        self.version = Some(version);
        Ok(Step::Slices { passed_over })
    }

    /// Takes the watch's next event.
    async fn follow(&mut self) -> Result<Step, ApiError> {
        let Some(watch) = &mut self.watch else { return Ok(Step::WatchEnded) };
        let (step, version) = match watch.next().await? {
            Some(Event::Put(slice)) => {
                let passed_over = self.slices.put(&slice);
                (Step::Slices { passed_over }, slice.metadata.resource_version)
            }
            Some(Event::Delete(slice)) => {
                self.slices.delete(&slice);
                (Step::Slices { passed_over: 0 }, slice.metadata.resource_version)
            }
            Some(Event::Bookmark { resource_version }) => (Step::Nothing, resource_version),
            None => return Ok(Step::WatchEnded),
        };
        if !version.is_empty() {
            self.version = Some(version);
        }
        Ok(step)
    }
}

/// Waits for a moment; for ever if there is none.
async fn until(moment: Option<std::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
