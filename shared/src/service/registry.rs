//! The explicit list of the component types that a binary knows, and their sections as values.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

use super::factory::{
    BuildError, ComponentId, ConnectorConfig, Context, ExporterConfig, Extension, ExtensionConfig,
    Kind, Outputs, ProcessorConfig, Receiver, ReceiverConfig,
};
use crate::auth::Side;
use crate::config::{Decode, Node, Path, Problem, Problems, nearest};
use crate::consumer::Next;
use crate::wire::Signal;

/// A component type that a binary knows.
pub struct Factory {
    /// Kind of component.
    pub kind: Kind,
    /// Type as configured.
    pub type_name: &'static str,
    /// Older spellings of the type.
    pub aliases: &'static [&'static str],
    /// Pairs of signals in and out; the two are the same for all but connectors. None for
    /// extensions.
    pub signals: Vec<(Signal, Signal)>,
    /// What an extension does for clients and servers.
    pub authenticates: &'static [Side],
    /// Reads and validates a section.
    pub decode: fn(&Node, &Path<'_>, &mut Problems) -> Option<Section>,
}

/// A section that was read, able to become a component of its kind.
pub struct Section(Arc<dyn AnySection>);

/// A section of any kind; each kind has the one method it needs.
#[async_trait]
trait AnySection: Any + Send + Sync {
    async fn receiver(&self, _: &Context, _: Outputs) -> Result<Box<dyn Receiver>, BuildError> {
        unreachable!("only asked of receivers")
    }
    fn processor(&self, _: &Context, _: Next) -> Result<Next, BuildError> {
        unreachable!("only asked of processors")
    }
    fn connector(&self, _: &Context, _: Next) -> Result<Next, BuildError> {
        unreachable!("only asked of connectors")
    }
    fn exporter(&self, _: &Context) -> Result<Next, BuildError> {
        unreachable!("only asked of exporters")
    }
    async fn extension(&self, _: &ComponentId) -> Result<Box<dyn Extension>, BuildError> {
        unreachable!("only asked of extensions")
    }
    /// The settings, and which of them can change while the component runs.
    fn live(&self) -> Option<(&dyn Any, &'static [&'static str])> {
        None
    }
}

impl Section {
    /// Starts a receiver.
    pub async fn start_receiver(
        &self,
        ctx: &Context,
        outputs: Outputs,
    ) -> Result<Box<dyn Receiver>, BuildError> {
        self.0.receiver(ctx, outputs).await
    }

    /// Builds a processor.
    pub fn build_processor(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        self.0.processor(ctx, next)
    }

    /// Builds a connector.
    pub fn build_connector(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        self.0.connector(ctx, next)
    }

    /// Builds an exporter.
    pub fn build_exporter(&self, ctx: &Context) -> Result<Next, BuildError> {
        self.0.exporter(ctx)
    }

    /// Starts an extension.
    pub async fn start_extension(
        &self,
        id: &ComponentId,
    ) -> Result<Box<dyn Extension>, BuildError> {
        self.0.extension(id).await
    }

    /// Whether a key of the section can change while its component runs.
    pub(super) fn is_live(&self, key: &str) -> bool {
        self.0.live().is_some_and(|(_, keys)| keys.contains(&key))
    }

    /// The settings, of the type that the component was built from.
    pub(super) fn settings(&self) -> Option<&dyn Any> {
        self.0.live().map(|(settings, _)| settings)
    }
}

struct Of<C, const KIND: u8>(C);

#[async_trait]
impl<C: ReceiverConfig> AnySection for Of<C, 0> {
    async fn receiver(
        &self,
        ctx: &Context,
        outputs: Outputs,
    ) -> Result<Box<dyn Receiver>, BuildError> {
        self.0.start(ctx, outputs).await
    }
}
impl<C: ProcessorConfig> AnySection for Of<C, 1> {
    fn processor(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        self.0.build(ctx, next)
    }
    fn live(&self) -> Option<(&dyn Any, &'static [&'static str])> {
        Some((&self.0, C::LIVE))
    }
}
impl<C: ExporterConfig> AnySection for Of<C, 2> {
    fn exporter(&self, ctx: &Context) -> Result<Next, BuildError> {
        self.0.build(ctx)
    }
}
impl<C: ConnectorConfig> AnySection for Of<C, 3> {
    fn connector(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        self.0.build(ctx, next)
    }
    fn live(&self) -> Option<(&dyn Any, &'static [&'static str])> {
        Some((&self.0, C::LIVE))
    }
}
#[async_trait]
impl<C: ExtensionConfig> AnySection for Of<C, 4> {
    async fn extension(&self, id: &ComponentId) -> Result<Box<dyn Extension>, BuildError> {
        self.0.start(id).await
    }
}

/// Reads a section, then lets it check itself.
///
/// It is checked also when a part of it could not be read, so that all mistakes are told in one
/// run; then only what is said of parts that were read counts.
fn decode<C: Decode + Default>(
    node: &Node,
    at: &Path<'_>,
    problems: &mut Problems,
    validate: impl FnOnce(&C, &Path<'_>, &mut Problems),
) -> Option<C> {
    let before = problems.errors().len();
    let section = match node.is_null() {
        true => C::default(),
        false => C::decode_partly(node, at, problems)?,
    };
    let read = problems.errors().len();
    validate(&section, at, problems);
    if problems.errors().len() == before {
        return Some(section);
    }
    let prefix = format!("{at}::");
    let key = |problem: &Problem| {
        let below = problem.path.strip_prefix(&prefix)?;
        below.split("::").next().map(str::to_owned)
    };
    let unread: Vec<_> = problems.errors()[before..read].iter().map(key).collect();
    // A key that is misspelt is missing under its right name.
    let is_unread = |key: &str| {
        unread
            .iter()
            .any(|unread| unread.as_deref().is_none_or(|unread| nearest(unread, [key]).is_some()))
    };
    problems.retain_since(read, |problem| match key(problem) {
        Some(key) => !is_unread(&key),
        None => unread.is_empty(),
    });
    None
}

/// The component types that a binary knows, and those that its sibling has instead.
#[derive(Default)]
pub struct Registry {
    factories: Vec<Factory>,
    elsewhere: Vec<(Kind, &'static str, &'static str)>,
    gates: Vec<Gate>,
}

/// A feature gate of the Collector that is a key here.
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// What has to be done with it.
    pub turned: Turned,
    /// Where the key is: the kind of component,
    pub kind: Kind,
    /// its type, with older spellings,
    pub type_names: &'static [&'static str],
    /// and the key; `outer::inner` for one in a section.
    pub key: &'static str,
    /// What the gate sets it to where it is not written, as YAML.
    pub value: &'static str,
}

/// What has to be done with a gate so that it sets its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// It is off in the Collector, and is turned on.
    On,
    /// It is on in the Collector, and is turned off.
    Off,
}

/// A method of [`Registry`] that adds a component type of one kind.
macro_rules! register {
    ($(#[$doc:meta])* $method:ident, $config:ident, $kind:ident, $number:literal, $pairs:expr, $sides:expr) => {
        $(#[$doc])*
        #[must_use]
        pub fn $method<C: $config>(mut self) -> Self {
            self.factories.push(Factory {
                kind: Kind::$kind,
                type_name: C::TYPE,
                aliases: C::ALIASES,
                signals: $pairs,
                authenticates: $sides,
                decode: |node, at, problems| {
                    let section = decode::<C>(node, at, problems, C::validate)?;
                    Some(Section(Arc::new(Of::<C, $number>(section))))
                },
            });
            self
        }
    };
}

fn same(signals: &[Signal]) -> Vec<(Signal, Signal)> {
    signals.iter().map(|signal| (*signal, *signal)).collect()
}

impl Registry {
    /// A registry that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    register!(/// Adds a receiver type.
        receiver, ReceiverConfig, Receiver, 0, same(C::SIGNALS), &[]);
    register!(/// Adds a processor type.
        processor, ProcessorConfig, Processor, 1, same(C::SIGNALS), &[]);
    register!(/// Adds an exporter type.
        exporter, ExporterConfig, Exporter, 2, same(C::SIGNALS), &[]);
    register!(/// Adds a connector type.
        connector, ConnectorConfig, Connector, 3, C::SIGNALS.to_vec(), &[]);
    register!(/// Adds an extension type.
        extension, ExtensionConfig, Extension, 4, Vec::new(), C::AUTHENTICATES);

    /// Notes that the component `type_name` is known to the tier `tier`, so that an error can
    /// say so.
    #[must_use]
    pub fn elsewhere(mut self, kind: Kind, type_name: &'static str, tier: &'static str) -> Self {
        self.elsewhere.push((kind, type_name, tier));
        self
    }

    /// Adds a feature gate.
    #[must_use]
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gates.push(gate);
        self
    }

    /// All feature gates.
    pub fn gates(&self) -> &[Gate] {
        &self.gates
    }

    /// The component type of this kind and name, also by an older spelling.
    pub fn find(&self, kind: Kind, type_name: &str) -> Option<&Factory> {
        self.factories.iter().find(|factory| {
            factory.kind == kind
                && (factory.type_name == type_name || factory.aliases.contains(&type_name))
        })
    }

    /// All component types, in the order they were added.
    pub fn factories(&self) -> &[Factory] {
        &self.factories
    }

    /// The tier that has the component instead, if one has.
    pub fn tier_of(&self, kind: Kind, type_name: &str) -> Option<&'static str> {
        self.elsewhere
            .iter()
            .find(|(other, name, _)| *other == kind && *name == type_name)
            .map(|(_, _, tier)| *tier)
    }
}
