//! What a configuration says: its components, and the pipelines made of them.
//!
//! Reading reports everything that is wrong, in the sections first, then between them; only a
//! configuration without problems becomes a [`Model`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::factory::{ComponentId, Kind};
use super::pipelines::{self, Service};
use super::registry::{Factory, Registry, Section};
use crate::config::{Data, Document, Entry, Node, Path, Problem, Problems, Reference, nearest};
use crate::telemetry::TelemetryConfig;
use crate::wire::Signal;

/// A configuration that makes sense.
pub struct Model {
    /// As it was read.
    pub root: Arc<Node>,
    /// Sections of all configured components, also of those that no pipeline uses.
    pub components: BTreeMap<(Kind, ComponentId), Section>,
    /// The extensions to start, in order.
    pub extensions: Vec<ComponentId>,
    /// The pipelines, by id.
    pub pipelines: Vec<Pipeline>,
    /// Connectors between them.
    pub links: Vec<Link>,
    /// What the process says of itself.
    pub telemetry: TelemetryConfig,
    /// What may not mean what it seems to, to be logged once logs are on.
    pub warnings: Vec<Problem>,
    /// What has another name today, to be logged as well.
    pub former_names: Vec<Problem>,
}

/// A pipeline's id: `traces` or `traces/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PipelineId {
    /// What flows through it.
    pub signal: Signal,
    /// The part behind the slash.
    pub name: Option<String>,
}

/// A pipeline, by the ids of its components; none of them twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Its id.
    pub id: PipelineId,
    /// Receivers, and connectors that begin it.
    pub receivers: Vec<ComponentId>,
    /// Processors, in the order that data takes.
    pub processors: Vec<ComponentId>,
    /// Exporters, and connectors that end it.
    pub exporters: Vec<ComponentId>,
}

/// A connector that ends one pipeline and begins another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The connector.
    pub connector: ComponentId,
    /// Index of the pipeline that it ends.
    pub from: usize,
    /// Index of the pipeline that it begins.
    pub to: usize,
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.signal.name())?;
        match &self.name {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl Model {
    /// Whether a pipeline or the process uses a component.
    pub fn uses(&self, kind: Kind, id: &ComponentId) -> bool {
        let in_pipelines = |ids: fn(&Pipeline) -> &Vec<ComponentId>| {
            self.pipelines.iter().any(|pipeline| ids(pipeline).contains(id))
        };
        match kind {
            Kind::Receiver => in_pipelines(|pipeline| &pipeline.receivers),
            Kind::Processor => in_pipelines(|pipeline| &pipeline.processors),
            Kind::Exporter => in_pipelines(|pipeline| &pipeline.exporters),
            Kind::Connector => self.links.iter().any(|link| link.connector == *id),
            Kind::Extension => self.extensions.contains(id),
        }
    }

    /// Reads `document`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn read(document: Document, registry: &Registry) -> Result<Model, Problems> {
        let Document { root, mut problems } = document;
        if root.entries().is_empty() && matches!(root.data, Data::Null | Data::Map(_)) {
            problems.report(&Path::ROOT, "empty configuration file");
            return Err(problems);
        }
        let mut components = Components::default();
        for entry in root.entries() {
            let at = Path::ROOT.key(&entry.key);
            match Kind::ALL.into_iter().find(|kind| kind.section() == entry.key) {
                Some(kind) => components.read(kind, &entry.value, &at, registry, &mut problems),
                None if entry.key == "service" => {}
                None => report_root_key(&entry.key, &at, &mut problems),
            }
        }
        components.check(&mut problems);
        let null = Node::new(Data::Null);
        let service = root.get("service").unwrap_or(&null);
        let service = pipelines::read(service, &components, &mut problems);
        components.check_references(&service, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let sections =
            components.0.into_iter().filter_map(|(key, known)| Some((key, known.section?)));
        Ok(Model {
            root,
            components: sections.collect(),
            extensions: service.extensions,
            pipelines: service.pipelines,
            links: service.links,
            telemetry: service.telemetry,
            warnings: problems.warnings().to_vec(),
            former_names: problems.former_names().to_vec(),
        })
    }
}

fn report_root_key(key: &str, at: &Path<'_>, problems: &mut Problems) {
    let known = Kind::ALL.map(Kind::section).into_iter().chain(["service"]);
    let hint = match nearest(key, known.clone()) {
        Some(near) => format!(", did you mean \"{near}\"?"),
        None => format!(" (valid keys: {})", known.collect::<Vec<_>>().join(", ")),
    };
    problems.report(at, format!("unknown key{hint}"));
}

/// The components that the configuration names, with those that are wrong: a reference to one of
/// them is no mistake of its own.
#[derive(Default)]
pub(super) struct Components<'r>(BTreeMap<(Kind, ComponentId), Known<'r>>);

/// A configured component.
struct Known<'r> {
    /// Its type; `None` when the type is not known.
    factory: Option<&'r Factory>,
    /// Its section; `None` when something is wrong in it.
    section: Option<Section>,
}

impl<'r> Components<'r> {
    fn read(
        &mut self,
        kind: Kind,
        node: &Node,
        at: &Path<'_>,
        registry: &'r Registry,
        problems: &mut Problems,
    ) {
        match &node.data {
            Data::Null => {}
            Data::Map(entries) => {
                for entry in entries {
                    self.read_one(kind, entry, &at.key(&entry.key), registry, problems);
                }
            }
            _ => problems.report(at, format!("expected a map, got {}", node.kind())),
        }
    }

    fn read_one(
        &mut self,
        kind: Kind,
        entry: &Entry,
        at: &Path<'_>,
        registry: &'r Registry,
        problems: &mut Problems,
    ) {
        let id = match ComponentId::parse(&entry.key) {
            Ok(id) => id,
            Err(message) => return problems.report(at, message),
        };
        if self.has(kind, &id) {
            return problems.report(at, format!("duplicate name \"{id}\" after unmarshaling"));
        }
        let factory = registry.find(kind, &id.kind);
        let section = match factory {
            None => {
                problems.report(at, unknown_type(registry, kind, &id));
                None
            }
            Some(factory) => {
                if factory.type_name != id.kind {
                    let message =
                        format!("\"{}\" is now called \"{}\"", id.kind, factory.type_name);
                    problems.mention(at, message);
                }
                (factory.decode)(&entry.value, at, problems)
            }
        };
        self.0.insert((kind, id), Known { factory, section });
    }

    /// Checks what concerns whole sections.
    fn check(&self, problems: &mut Problems) {
        for kind in [Kind::Receiver, Kind::Exporter] {
            if self.ids(kind).next().is_none() {
                let name = kind.name();
                let message = format!("no {name} configuration specified in config");
                problems.report(&Path::ROOT.key(kind.section()), message);
            }
        }
        for id in self.ids(Kind::Connector) {
            for kind in [Kind::Exporter, Kind::Receiver] {
                if self.has(kind, id) {
                    let name = kind.name();
                    let message = format!(
                        "ambiguous ID: Found both \"{id}\" {name} and \"{id}\" connector. Change \
                         one of the components' IDs to eliminate ambiguity (e.g. rename \"{id}\" \
                         connector to \"{id}/connector\")"
                    );
                    let at = Path::ROOT.key(Kind::Connector.section());
                    problems.report(&at.key(&id.to_string()), message);
                }
            }
        }
    }

    /// Checks the extensions that sections in use name. As in the Collector, those of others are
    /// not looked at.
    fn check_references(&self, service: &Service, problems: &mut Problems) {
        for reference in problems.references().to_vec() {
            if !service.uses(&reference.at.path) {
                continue;
            }
            if let Err(message) = self.check_reference(&reference, service) {
                problems.report_reference(&reference, message);
            }
        }
    }

    fn check_reference(&self, reference: &Reference, service: &Service) -> Result<(), String> {
        let id = ComponentId::parse(&reference.id)?;
        let Some(known) = self.0.get(&(Kind::Extension, id.clone())) else {
            let hint = match self.meant(&[Kind::Extension], &id) {
                Some(other) => format!(", did you mean \"{other}\"?"),
                None => String::new(),
            };
            return Err(format!("references extension \"{id}\" which is not configured{hint}"));
        };
        // Of a type that is not known, that was said already.
        if known.factory.is_some_and(|of| !of.authenticates.contains(&reference.side)) {
            let side = reference.side.name();
            return Err(format!("extension \"{id}\" is not a {side} authenticator"));
        }
        if !service.extensions.contains(&id) {
            return Err(format!(
                "references extension \"{id}\" which is not in service::extensions"
            ));
        }
        Ok(())
    }

    /// Whether there is such a component.
    pub(super) fn has(&self, kind: Kind, id: &ComponentId) -> bool {
        self.0.contains_key(&(kind, id.clone()))
    }

    /// The ids of all components of a kind.
    pub(super) fn ids(&self, kind: Kind) -> impl Iterator<Item = &ComponentId> {
        self.0.keys().filter(move |(of, _)| *of == kind).map(|(_, id)| id)
    }

    /// Pairs of signals that a component takes and gives; `None` when its type is not known.
    pub(super) fn signals(&self, kind: Kind, id: &ComponentId) -> Option<&[(Signal, Signal)]> {
        Some(&self.0.get(&(kind, id.clone()))?.factory?.signals)
    }

    /// The configured component of one of `kinds` that `id` may have meant: the same type by its
    /// other name, or a near spelling.
    pub(super) fn meant(&self, kinds: &[Kind], id: &ComponentId) -> Option<String> {
        let candidates =
            || kinds.iter().flat_map(|kind| self.0.iter().filter(|(key, _)| key.0 == *kind));
        let other_name = candidates().find(|((_, other), known)| {
            let is_name = |factory: &Factory| {
                factory.type_name == id.kind || factory.aliases.contains(&id.kind.as_str())
            };
            other.name == id.name && known.factory.is_some_and(is_name)
        });
        if let Some(((_, other), _)) = other_name {
            return Some(other.to_string());
        }
        let ids: Vec<String> = candidates().map(|((_, other), _)| other.to_string()).collect();
        nearest(&id.to_string(), ids.iter().map(String::as_str)).map(str::to_owned)
    }
}

/// Says where the type is known instead, or what may have been meant.
fn unknown_type(registry: &Registry, kind: Kind, id: &ComponentId) -> String {
    let name = id.kind.as_str();
    if let Some(tier) = registry.tier_of(kind, name) {
        return format!("component \"{name}\" belongs to the {tier} tier");
    }
    let with_article = |kind: Kind| match kind {
        Kind::Exporter | Kind::Extension => format!("an {}", kind.name()),
        _ => format!("a {}", kind.name()),
    };
    let here = Kind::ALL.into_iter().filter(|other| registry.find(*other, name).is_some());
    let here: Vec<String> = here.map(with_article).collect();
    if !here.is_empty() {
        return format!("\"{name}\" is {}, not {}", here.join(" and "), with_article(kind));
    }
    for other in Kind::ALL {
        if let Some(tier) = registry.tier_of(other, name) {
            let (is, not) = (with_article(other), with_article(kind));
            return format!("\"{name}\" is {is} of the {tier} tier, not {not}");
        }
    }
    let factories = registry.factories().iter().filter(|factory| factory.kind == kind);
    let mut valid: Vec<&str> = factories.clone().map(|factory| factory.type_name).collect();
    valid.sort_unstable();
    let names = factories.flat_map(|factory| factory.aliases.iter().chain([&factory.type_name]));
    let hint = match nearest(name, names.copied()) {
        Some(near) => format!(", did you mean \"{near}\"?"),
        None => String::new(),
    };
    format!("unknown type: \"{name}\" for id: \"{id}\"{hint} (valid values: [{}])", valid.join(" "))
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
