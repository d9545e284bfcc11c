//! A configuration that runs: started as a whole, or not at all; stopped without loss if time
//! allows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::commons::Commons;
use super::factory::{BuildError, ComponentId, Extension, Kind, Losses};
use super::graph::{Built, Graph, Stopped, Surroundings};
use super::model::Model;
use super::reload::{self, Reloaded};
use super::runtime;
use crate::clock;
use crate::config::{Node, Process, World};
use crate::telemetry::admin::Admin;
use crate::telemetry::metrics::Descriptor;
use crate::telemetry::{self, Identity, Telemetry};

/// How long what was started may take to end when the rest cannot start.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// A running process: all pipelines take data.
pub struct Running {
    extensions: Vec<(ComponentId, Box<dyn Extension>)>,
    graph: Graph,
    losses: Arc<Losses>,
    telemetry: Telemetry,
    /// The configuration that is in force.
    root: Arc<Node>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Items that were accepted before, and given up while stopping.
    pub lost: u64,
    /// Whether a component was left behind that did not end in time; what it held is not in
    /// `lost`.
    pub overrun: bool,
}

impl Outcome {
    /// Whether everything that was accepted went where it should.
    pub fn is_clean(self) -> bool {
        self.lost == 0 && !self.overrun
    }
}

impl Running {
    /// Starts telemetry, extensions, exporters, processors and at last the receivers.
    ///
    /// To be called within a runtime.
    ///
    /// # Errors
    /// The first component that cannot start; what was started is stopped again.
    pub async fn start(
        model: &Model,
        identity: &Identity,
        descriptors: &[&'static [Descriptor]],
    ) -> Result<Running, BuildError> {
        let telemetry = telemetry::start(&model.telemetry, identity, descriptors)?;
        info!(version = identity.version, cpus = runtime::cpus(), "starting {}", identity.name);
        for warning in model.warnings.iter().chain(&model.former_names) {
            warn!("{warning}");
        }
        let mut running = Running {
            extensions: Vec::new(),
            graph: Graph::default(),
            losses: Arc::new(Losses::default()),
            telemetry,
            root: Arc::clone(&model.root),
        };
        match running.start_components(model).await {
            Ok(()) => Ok(running),
            Err(error) => {
                running.stop(clock::now() + ABORT_TIMEOUT).await;
                Err(error)
            }
        }
    }

    async fn start_components(&mut self, model: &Model) -> Result<(), BuildError> {
        for id in &model.extensions {
            let section = &model.components[&(Kind::Extension, id.clone())];
            let extension = section.start_extension(id).await.map_err(|error| {
                let failed = format!("failed to start \"{id}\" extension: {error}");
                BuildError::new(format!("failed to start extensions: {failed}"))
            })?;
            for address in extension.addresses() {
                info!(extension = %id, %address, "listening");
            }
            self.extensions.push((id.clone(), extension));
        }
        let commons = Arc::new(Commons::new(Arc::clone(self.telemetry.admin())));
        self.add_authenticators(&commons)
            .map_err(|error| BuildError::new(format!("failed to start extensions: {error}")))?;
        let around = Surroundings {
            losses: Arc::clone(&self.losses),
            instance: instance(model).into(),
            commons,
        };
        let Built { graph, entries } = Graph::build(model, &around)
            .map_err(|error| BuildError::new(format!("failed to build pipelines: {error}")))?;
        self.graph = graph;
        self.graph
            .start_receivers(model, &entries, &around)
            .await
            .map_err(|error| BuildError::new(format!("cannot start pipelines: {error}")))?;
        for (_, extension) in &self.extensions {
            extension.ready();
        }
        Ok(())
    }

    /// Asks every extension what it does for clients and servers; those that build on others after
    /// these.
    fn add_authenticators(&self, commons: &Commons) -> Result<(), BuildError> {
        let mut waiting: Vec<_> = self.extensions.iter().collect();
        loop {
            let (before, mut missing) = (waiting.len(), None);
            waiting.retain(|(id, extension)| match extension.authenticator(commons) {
                Ok(authenticator) => {
                    if let Some(authenticator) = authenticator {
                        commons.add_authenticator(id.clone(), authenticator);
                    }
                    false
                }
                Err(error) => {
                    let failed = format!("failed to start \"{id}\" extension: {error}");
                    missing = Some(BuildError::new(failed));
                    true
                }
            });
            match missing {
                None => return Ok(()),
                Some(error) if waiting.len() == before => return Err(error),
                Some(_) => {}
            }
        }
    }

    /// Who answers operators.
    pub(super) fn admin(&self) -> &Admin {
        self.telemetry.admin()
    }

    /// Changes to another configuration, if all that differs can change while the process runs.
    pub fn reload(&mut self, model: &Model) -> Reloaded {
        let changes = match reload::compare(&self.root, model) {
            Ok(changes) => changes,
            Err(paths) => return Reloaded::NeedsRestart(paths),
        };
        self.root = Arc::clone(&model.root);
        if changes.is_empty() {
            return Reloaded::Unchanged;
        }
        for (kind, id) in changes.components() {
            self.graph.reload(kind, id, &model.components[&(kind, id.clone())]);
        }
        Reloaded::Applied(changes.paths)
    }

    /// Where its components listen, with the ports that were really bound, by key path:
    /// `receivers::otlp`. Components that do not listen are left out.
    pub fn addresses(&self) -> BTreeMap<String, Vec<SocketAddr>> {
        let extensions =
            self.extensions.iter().map(|(id, of)| (Kind::Extension, id, of.addresses()));
        let mut addresses: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        for (kind, id, bound) in self.graph.addresses().chain(extensions) {
            if !bound.is_empty() {
                addresses.entry(format!("{}::{id}", kind.section())).or_default().extend(bound);
            }
        }
        if let Some(address) = self.telemetry.address() {
            addresses.insert("service::telemetry".to_owned(), vec![address]);
        }
        addresses
    }

    /// Stops: not ready any more, then receivers, processors and exporters, which may send what
    /// they hold until `deadline`, then extensions, then telemetry.
    pub async fn stop(self, deadline: Instant) -> Outcome {
        info!("starting shutdown");
        let before = self.losses.total();
        for (_, extension) in &self.extensions {
            extension.not_ready();
        }
        let stopped = self.graph.stop(deadline).await;
        for (_, extension) in self.extensions.into_iter().rev() {
            extension.shutdown().await;
        }
        drop(self.telemetry);
        let lost = self.losses.total() - before;
        match lost {
            0 => info!("shutdown complete"),
            lost => error!(lost, "shutdown complete, items were lost"),
        }
        Outcome { lost, overrun: stopped == Stopped::Overrun }
    }
}

/// A name that a restart does not change: configured, else the pod's, else the host's.
fn instance(model: &Model) -> String {
    let attributes = &model.telemetry.resource.attributes;
    configured_instance(attributes, &Process).unwrap_or_else(|| Process.host_name())
}

/// The Collector's connectors read `collector.instance.id`. `POD_NAME` is how manifests commonly
/// hand the pod's name on, where the host's name is another.
fn configured_instance(
    attributes: &BTreeMap<String, Option<String>>,
    world: &dyn World,
) -> Option<String> {
    let attribute = |key: &str| attributes.get(key).cloned().flatten();
    attribute("collector.instance.id")
        .or_else(|| attribute("service.instance.id"))
        .or_else(|| world.variable("POD_NAME"))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pod;

    impl World for Pod {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "POD_NAME").then(|| "backend-1".to_owned())
        }

        fn file(&self, _path: &str) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    #[track_caller]
    fn check(attributes: &[(&str, Option<&str>)], expected: &str) {
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
            .collect();
        assert_eq!(configured_instance(&attributes, &Pod).as_deref(), Some(expected));
    }

    #[test]
    fn a_process_is_called_as_configured_or_as_its_pod() {
        let (service, own) =
            (("service.instance.id", Some("a")), ("collector.instance.id", Some("b")));
        check(&[service, own], "b");
        check(&[service], "a");
        check(&[("service.instance.id", None)], "backend-1");
        check(&[], "backend-1");
    }
}
