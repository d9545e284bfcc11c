//! The running pipelines: built from the exporters up, stopped from the receivers down.
//!
//! ```text
//! receiver ─▶ processor ─▶ … ─▶ fan-out ─▶ exporter
//!          (one per pipeline)           └▶ connector ─▶ processor ─▶ … (another pipeline)
//! ```
//! An exporter is one per signal and id, a connector one per pair of signals and id, a receiver
//! one per id, however many pipelines name them. Source: collector service/internal/graph.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::error;

use super::commons::Commons;
use super::factory::{BuildError, ComponentId, Context, Kind, Losses, Outputs, Receiver};
use super::model::{Model, Pipeline};
use super::registry::Section;
use super::topology;
use crate::clock;
use crate::consumer::{FanOut, Next};
use crate::wire::Signal;

/// How long after its deadline a component that does not stop is waited for.
const GRACE: Duration = Duration::from_millis(500);

/// What runs between the doors of the process.
#[derive(Default)]
pub(super) struct Graph {
    receivers: Vec<(ComponentId, Box<dyn Receiver>)>,
    /// Processors and connectors, upstream first.
    inner: Vec<Component>,
    exporters: Vec<Component>,
}

/// A consumer of the graph, with what it is called.
struct Component {
    kind: Kind,
    id: ComponentId,
    next: Next,
}

/// Whether all components ended in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// All did.
    InTime,
    /// One did not; what it held was not counted.
    Overrun,
}

/// What all components are told.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) losses: Arc<Losses>,
    pub(super) instance: Arc<str>,
    pub(super) commons: Arc<Commons>,
}

impl Surroundings {
    fn context(&self, id: &ComponentId, signal: Signal, output: Signal) -> Context {
        Context {
            id: id.clone(),
            signal,
            output,
            losses: Arc::clone(&self.losses),
            instance: Arc::clone(&self.instance),
            commons: Arc::clone(&self.commons),
        }
    }
}

impl Graph {
    /// Builds all consumers, exporters first. Nothing flows yet.
    pub(super) fn build(model: &Model, around: &Surroundings) -> Result<Built, BuildError> {
        let mut builder = Builder {
            model,
            around,
            exporters: BTreeMap::new(),
            connectors: BTreeMap::new(),
            entries: BTreeMap::new(),
            processors: BTreeMap::new(),
        };
        let order =
            topology::order(model.pipelines.len(), &model.links).expect("a model has no circles");
        for pipeline in &model.pipelines {
            builder.exporters(pipeline)?;
        }
        for index in order.iter().rev() {
            builder.pipeline(*index)?;
        }
        Ok(builder.finish(&order))
    }

    /// Starts one receiver after the other. What was started is there also after an error.
    pub(super) async fn start_receivers(
        &mut self,
        model: &Model,
        entries: &BTreeMap<usize, Next>,
        around: &Surroundings,
    ) -> Result<(), BuildError> {
        let mut doors: BTreeMap<&ComponentId, BTreeMap<Signal, Vec<Next>>> = BTreeMap::new();
        for (index, pipeline) in model.pipelines.iter().enumerate() {
            for id in &pipeline.receivers {
                if model.components.contains_key(&(Kind::Receiver, id.clone())) {
                    let outputs = doors.entry(id).or_default().entry(pipeline.id.signal);
                    outputs.or_default().push(Arc::clone(&entries[&index]));
                }
            }
        }
        for (id, outputs) in doors {
            let signal = *outputs.keys().next().expect("a receiver of a pipeline has a signal");
            let outputs: Outputs =
                outputs.into_iter().map(|(signal, next)| (signal, FanOut::of(next))).collect();
            let receiver = section(model, Kind::Receiver, id)
                .start_receiver(&around.context(id, signal, signal), outputs)
                .await
                .map_err(|error| failed("start", id, Kind::Receiver, &error))?;
            self.receivers.push((id.clone(), receiver));
        }
        Ok(())
    }

    /// Gives the instances of a processor or connector new settings.
    pub(super) fn reload(&self, kind: Kind, id: &ComponentId, section: &Section) {
        let Some(settings) = section.settings() else { return };
        for component in self.inner.iter().filter(|of| of.kind == kind && of.id == *id) {
            component.next.reload(settings);
        }
    }

    /// Where its components listen.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (Kind, &ComponentId, Vec<SocketAddr>)> {
        let receivers =
            self.receivers.iter().map(|(id, receiver)| (Kind::Receiver, id, receiver.addresses()));
        let consumers = self.inner.iter().chain(&self.exporters);
        receivers.chain(consumers.map(|of| (of.kind, &of.id, of.next.addresses())))
    }

    /// Stops everything, upstream first, so that what is held can still flow out.
    ///
    /// Receivers, then processors and connectors, may each take half of the time that is left:
    /// a client that does not let go must not cost the exporters their chance to send.
    pub(super) async fn stop(self, deadline: Instant) -> Stopped {
        let mut stopped = Stopped::InTime;
        let half = halfway(deadline);
        let mut tasks = JoinSet::new();
        for (id, receiver) in self.receivers {
            tasks.spawn(within(half, Kind::Receiver, id, async move {
                receiver.shutdown(half).await;
            }));
        }
        stopped = join(tasks, stopped).await;

        let half = halfway(deadline);
        for Component { kind, id, next } in self.inner {
            let shutdown = async move { next.shutdown(half).await };
            if within(half, kind, id, shutdown).await == Stopped::Overrun {
                stopped = Stopped::Overrun;
            }
        }

        let mut tasks = JoinSet::new();
        for Component { kind, id, next } in self.exporters {
            tasks.spawn(within(deadline, kind, id, async move { next.shutdown(deadline).await }));
        }
        join(tasks, stopped).await
    }
}

fn halfway(deadline: Instant) -> Instant {
    let now = clock::now();
    now + deadline.saturating_duration_since(now) / 2
}

/// Waits for a component's end, but not much longer than it was told.
async fn within(
    deadline: Instant,
    kind: Kind,
    id: ComponentId,
    shutdown: impl Future<Output = ()>,
) -> Stopped {
    match tokio::time::timeout_at((deadline + GRACE).into(), shutdown).await {
        Ok(()) => Stopped::InTime,
        Err(_) => {
            error!(component = %id, kind = kind.name(), "did not stop in time, what it held is lost");
            Stopped::Overrun
        }
    }
}

async fn join(mut tasks: JoinSet<Stopped>, mut stopped: Stopped) -> Stopped {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(Stopped::InTime) => {}
            Ok(Stopped::Overrun) => stopped = Stopped::Overrun,
            Err(error) => {
                error!(%error, "a component failed while stopping, what it held is lost");
                stopped = Stopped::Overrun;
            }
        }
    }
    stopped
}

/// A graph without its receivers, and where each pipeline begins.
pub(super) struct Built {
    pub(super) graph: Graph,
    pub(super) entries: BTreeMap<usize, Next>,
}

/// A connector instance: id, signal in, signal out.
type Joint = (ComponentId, Signal, Signal);

struct Builder<'m> {
    model: &'m Model,
    around: &'m Surroundings,
    exporters: BTreeMap<(Signal, ComponentId), Next>,
    connectors: BTreeMap<Joint, Next>,
    /// Where a pipeline begins, by its index.
    entries: BTreeMap<usize, Next>,
    /// A pipeline's processors, in the order that data takes.
    processors: BTreeMap<usize, Vec<Component>>,
}

impl Builder<'_> {
    fn exporters(&mut self, pipeline: &Pipeline) -> Result<(), BuildError> {
        let signal = pipeline.id.signal;
        for id in &pipeline.exporters {
            let key = (signal, id.clone());
            let Some(section) = self.model.components.get(&(Kind::Exporter, id.clone())) else {
                continue;
            };
            if self.exporters.contains_key(&key) {
                continue;
            }
            let exporter = section
                .build_exporter(&self.around.context(id, signal, signal))
                .map_err(|error| failed("create", id, Kind::Exporter, &error))?;
            self.exporters.insert(key, exporter);
        }
        Ok(())
    }

    /// Builds a pipeline whose downstream pipelines are built.
    fn pipeline(&mut self, index: usize) -> Result<(), BuildError> {
        let pipeline = &self.model.pipelines[index];
        let signal = pipeline.id.signal;
        let mut branches = Vec::new();
        for id in &pipeline.exporters {
            match self.exporters.get(&(signal, id.clone())) {
                Some(exporter) => branches.push(Arc::clone(exporter)),
                None => branches.extend(self.connector(index, id)?),
            }
        }
        let mut next = FanOut::of(branches);
        let mut processors = Vec::new();
        for id in pipeline.processors.iter().rev() {
            next = section(self.model, Kind::Processor, id)
                .build_processor(&self.around.context(id, signal, signal), next)
                .map_err(|error| failed("create", id, Kind::Processor, &error))?;
            let id = id.clone();
            processors.push(Component { kind: Kind::Processor, id, next: Arc::clone(&next) });
        }
        processors.reverse();
        self.processors.insert(index, processors);
        self.entries.insert(index, next);
        Ok(())
    }

    /// The instances of a connector that ends the pipeline `from`, one for each signal it gives.
    fn connector(&mut self, from: usize, id: &ComponentId) -> Result<Vec<Next>, BuildError> {
        let signal = self.model.pipelines[from].id.signal;
        let mut begun: BTreeMap<Signal, Vec<Next>> = BTreeMap::new();
        for link in self.model.links.iter().filter(|link| link.from == from) {
            if link.connector == *id {
                let output = self.model.pipelines[link.to].id.signal;
                begun.entry(output).or_default().push(Arc::clone(&self.entries[&link.to]));
            }
        }
        let mut instances = Vec::new();
        for (output, nexts) in begun {
            let joint = (id.clone(), signal, output);
            if let Some(connector) = self.connectors.get(&joint) {
                instances.push(Arc::clone(connector));
                continue;
            }
            let connector = section(self.model, Kind::Connector, id)
                .build_connector(&self.around.context(id, signal, output), FanOut::of(nexts))
                .map_err(|error| failed("create", id, Kind::Connector, &error))?;
            self.connectors.insert(joint, Arc::clone(&connector));
            instances.push(connector);
        }
        Ok(instances)
    }

    /// Puts the consumers in the order in which they are stopped: a connector after the last
    /// pipeline that feeds it.
    fn finish(mut self, order: &[usize]) -> Built {
        let mut inner: Vec<Component> = Vec::new();
        for (position, index) in order.iter().enumerate() {
            inner.extend(self.processors.remove(index).unwrap_or_default());
            let ends_here = |(id, signal, _): &Joint| {
                let feeds = |index: &usize| {
                    let pipeline = &self.model.pipelines[*index];
                    pipeline.id.signal == *signal && pipeline.exporters.contains(id)
                };
                feeds(index) && !order[position + 1..].iter().any(feeds)
            };
            let ending = self.connectors.iter().filter(|(joint, _)| ends_here(joint));
            inner.extend(ending.map(|((id, ..), next)| Component {
                kind: Kind::Connector,
                id: id.clone(),
                next: Arc::clone(next),
            }));
        }
        let exporters = self.exporters.into_iter().map(|((_, id), next)| Component {
            kind: Kind::Exporter,
            id,
            next,
        });
        let exporters: Vec<Component> = exporters.collect();
        // A processor may be nothing but what comes after it; nothing is to be stopped twice.
        let mut known: Vec<Next> = exporters.iter().map(|of| Arc::clone(&of.next)).collect();
        inner.reverse();
        inner.retain(|of| {
            let is_new = !known.iter().any(|known| Arc::ptr_eq(known, &of.next));
            known.push(Arc::clone(&of.next));
            is_new
        });
        inner.reverse();
        let graph = Graph { receivers: Vec::new(), inner, exporters };
        Built { graph, entries: self.entries }
    }
}

fn section<'m>(model: &'m Model, kind: Kind, id: &ComponentId) -> &'m Section {
    &model.components[&(kind, id.clone())]
}

fn failed(what: &str, id: &ComponentId, kind: Kind, error: &BuildError) -> BuildError {
    BuildError::new(format!("failed to {what} \"{id}\" {}: {error}", kind.name()))
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
