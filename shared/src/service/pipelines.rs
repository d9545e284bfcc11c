//! The section `service`: which components make which pipelines.

use std::collections::BTreeMap;

use super::factory::{ComponentId, Kind};
use super::model::{Components, Link, Pipeline, PipelineId};
use super::topology;
use crate::config::{Data, Entry, Fields, Node, Path, Problems, expected, nearest};
use crate::config_struct;
use crate::telemetry::TelemetryConfig;
use crate::wire::Signal;

config_struct! {
    /// `service`, but for its pipelines, which are read one by one.
    struct ServiceConfig {
        /// The extensions to start, in order.
        pub extensions: Vec<String> = Vec::new(),
        /// The pipelines, by id.
        pub pipelines: Unread = Unread,
        /// What the process says of itself.
        pub telemetry: TelemetryConfig = TelemetryConfig::default(),
    }
}

/// What is read elsewhere.
#[derive(Debug, Clone)]
struct Unread;

impl crate::config::Decode for Unread {
    fn decode(_: &Node, _: &Path<'_>, _: &mut Problems) -> Option<Self> {
        Some(Self)
    }
}

config_struct! {
    /// `service::pipelines::ID`.
    struct PipelineConfig {
        /// Receivers, and connectors that begin it.
        pub receivers: Vec<String> = Vec::new(),
        /// Processors, in the order that data takes.
        pub processors: Vec<String> = Vec::new(),
        /// Exporters, and connectors that end it.
        pub exporters: Vec<String> = Vec::new(),
    }
}

/// What `service` says.
pub(super) struct Service {
    pub(super) extensions: Vec<ComponentId>,
    pub(super) pipelines: Vec<Pipeline>,
    pub(super) links: Vec<Link>,
    pub(super) telemetry: TelemetryConfig,
}

impl Service {
    /// Whether the section that `path` leads into is one of a component that will be started.
    pub(super) fn uses(&self, path: &str) -> bool {
        let leads = |kind: Kind, ids: &[ComponentId]| {
            let sections = ids.iter().map(|id| format!("{}::{id}::", kind.section()));
            sections.into_iter().any(|section| path.starts_with(&section))
        };
        let of_pipeline = |pipeline: &Pipeline| {
            leads(Kind::Receiver, &pipeline.receivers)
                || leads(Kind::Processor, &pipeline.processors)
                || leads(Kind::Exporter, &pipeline.exporters)
        };
        leads(Kind::Extension, &self.extensions) || self.pipelines.iter().any(of_pipeline)
    }
}

/// Reads the section `service` and checks it against the configured components.
pub(super) fn read(node: &Node, components: &Components<'_>, problems: &mut Problems) -> Service {
    let at = Path::ROOT.key("service");
    let service = ServiceConfig::decode_what_fits(node, &at, problems);
    service.telemetry.validate(&at.key("telemetry"), problems);

    let extensions = Use { kinds: &[Kind::Extension], signal: None, owner: &at, key: "extensions" };
    let extensions = extensions.read(&service.extensions, components, problems);

    let null = Node::new(Data::Null);
    let pipelines = node.get("pipelines").unwrap_or(&null);
    let pipelines = read_pipelines(pipelines, &at.key("pipelines"), components, problems);
    let links = topology::check(&pipelines, components, problems);
    Service { extensions, pipelines, links, telemetry: service.telemetry }
}

fn read_pipelines(
    node: &Node,
    at: &Path<'_>,
    components: &Components<'_>,
    problems: &mut Problems,
) -> Vec<Pipeline> {
    let mut pipelines = BTreeMap::new();
    match &node.data {
        Data::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                let at = at.key(&entry.key);
                let pipeline = read_pipeline(entry, &at, components, problems);
                let pipeline = pipeline.map(|pipeline| (pipeline.id.clone(), pipeline));
                if pipeline.is_some_and(|(id, pipeline)| pipelines.insert(id, pipeline).is_some()) {
                    let id = entry.key.trim();
                    problems.report(&at, format!("duplicate name \"{id}\" after unmarshaling"));
                }
            }
        }
        Data::Map(_) | Data::Null => {
            problems.report(at, "service must have at least one pipeline");
        }
        _ => {
            let _: Option<()> = expected("a map", node, at, problems);
        }
    }
    pipelines.into_values().collect()
}

fn read_pipeline(
    entry: &Entry,
    at: &Path<'_>,
    components: &Components<'_>,
    problems: &mut Problems,
) -> Option<Pipeline> {
    let before = problems.errors().len();
    let id = pipeline_id(&entry.key);
    if let Err(message) = &id {
        problems.report(at, message);
    }
    let config = PipelineConfig::decode_what_fits(&entry.value, at, problems);
    let decoded = problems.errors().len() == before;
    let signal = id.as_ref().ok().map(|id| id.signal);
    let part = |kinds, key| Use { kinds, signal, owner: at, key };
    let receivers = part(&[Kind::Receiver, Kind::Connector], "receivers");
    let exporters = part(&[Kind::Exporter, Kind::Connector], "exporters");
    for (list, part) in [(&config.receivers, &receivers), (&config.exporters, &exporters)] {
        // A list that could not be read is not known to be empty.
        if list.is_empty() && decoded {
            problems.report(at, format!("must have at least one {}", part.kinds[0].name()));
        }
    }
    Some(Pipeline {
        id: id.ok()?,
        receivers: receivers.read(&config.receivers, components, problems),
        processors: part(&[Kind::Processor], "processors").read(
            &config.processors,
            components,
            problems,
        ),
        exporters: exporters.read(&config.exporters, components, problems),
    })
}

fn pipeline_id(text: &str) -> Result<PipelineId, String> {
    let id = ComponentId::parse(text)?;
    let signal = Signal::ALL.into_iter().find(|signal| signal.name() == id.kind);
    let Some(signal) = signal else {
        let names = Signal::ALL.map(Signal::name);
        let hint = match nearest(&id.kind, names) {
            Some(near) => format!(", did you mean \"{near}\"?"),
            None => format!(" (valid values: [{}])", names.join(" ")),
        };
        return Err(format!("unknown signal \"{}\"{hint}", id.kind));
    };
    Ok(PipelineId { signal, name: id.name })
}

/// A list of references to components.
struct Use<'a> {
    /// Kinds that may stand in it; connectors among them are checked with the topology.
    kinds: &'static [Kind],
    /// The pipeline's signal, if it is known.
    signal: Option<Signal>,
    /// The section that has the list.
    owner: &'a Path<'a>,
    /// The list's key.
    key: &'static str,
}

impl Use<'_> {
    /// The components that `ids` refer to, without those that are wrong.
    fn read(
        &self,
        ids: &[String],
        components: &Components<'_>,
        problems: &mut Problems,
    ) -> Vec<ComponentId> {
        let list = self.owner.key(self.key);
        // Messages about extensions name the list, as the Collector's do.
        let (owner, role) = match self.kinds[0] {
            Kind::Extension => (&list, Kind::Extension),
            kind => (self.owner, kind),
        };
        let mut read: Vec<ComponentId> = Vec::new();
        for (index, text) in ids.iter().enumerate() {
            let at = list.index(index);
            let id = match ComponentId::parse(text) {
                Ok(id) => id,
                Err(message) => {
                    problems.report(&at, message);
                    continue;
                }
            };
            match self.mistake(&id, role, &read, components) {
                Some(message) => problems.report_about(owner, &at, message),
                None if read.contains(&id) => {}
                None => read.push(id),
            }
        }
        read
    }

    fn mistake(
        &self,
        id: &ComponentId,
        role: Kind,
        before: &[ComponentId],
        components: &Components<'_>,
    ) -> Option<String> {
        let role_name = role.name();
        let Some(kind) = self.kinds.iter().find(|kind| components.has(**kind, id)) else {
            let hint = match components.meant(self.kinds, id) {
                Some(meant) => format!(", did you mean \"{meant}\"?"),
                None => String::new(),
            };
            return Some(format!("references {role_name} \"{id}\" which is not configured{hint}"));
        };
        if role == Kind::Processor && before.contains(id) {
            return Some(format!("references processor \"{id}\" multiple times"));
        }
        let (signals, signal) = (components.signals(*kind, id)?, self.signal?);
        let supported = signals.iter().any(|(from, to)| match (kind, role) {
            (Kind::Connector, Kind::Receiver) => *to == signal,
            _ => *from == signal,
        });
        let kind = kind.name();
        (!supported).then(|| match role_name == kind {
            true => format!("{kind} \"{id}\" does not support {signal}"),
            false => format!("{kind} \"{id}\" does not support {signal} as {role_name}"),
        })
    }
}
