//! What a section of the configuration must be able to do to become part of a pipeline.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;

use super::commons::Commons;
use crate::auth::{Authenticator, Side};
use crate::config::{Decode, Path, Problems};
use crate::consumer::Next;
use crate::wire::Signal;

/// The five kinds of components, named as their sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Takes data in.
    Receiver,
    /// Changes or holds data.
    Processor,
    /// Sends data out.
    Exporter,
    /// Ends one pipeline and begins another.
    Connector,
    /// Serves the process, not the data.
    Extension,
}

impl Kind {
    /// All kinds, in the order of the Collector's sections.
    pub const ALL: [Kind; 5] =
        [Kind::Receiver, Kind::Processor, Kind::Exporter, Kind::Connector, Kind::Extension];

    /// The section of the configuration: `receivers`.
    pub const fn section(self) -> &'static str {
        match self {
            Kind::Receiver => "receivers",
            Kind::Processor => "processors",
            Kind::Exporter => "exporters",
            Kind::Connector => "connectors",
            Kind::Extension => "extensions",
        }
    }

    /// The word for one of them: `receiver`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Receiver => "receiver",
            Kind::Processor => "processor",
            Kind::Exporter => "exporter",
            Kind::Connector => "connector",
            Kind::Extension => "extension",
        }
    }
}

/// A component's id as it is configured: `type` or `type/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId {
    /// The type as it is written, which may be an old spelling.
    pub kind: String,
    /// The part behind the slash.
    pub name: Option<String>,
}

impl ComponentId {
    /// Reads `type` or `type/name`.
    ///
    /// # Errors
    /// What is wrong with it, for the user. Source: collector component/identifiable.go.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (kind.trim(), Some(name.trim())),
            None => (text.trim(), None),
        };
        if kind.is_empty() {
            return Err(match name {
                None => "id must not be empty".to_owned(),
                Some(_) => format!("in {text:?} id: the part before / should not be empty"),
            });
        }
        if name == Some("") {
            return Err(format!("in {text:?} id: the part after / should not be empty"));
        }
        let valid_kind = kind.len() <= 63
            && kind.starts_with(|c: char| c.is_ascii_alphabetic())
            && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid_kind {
            return Err(format!("invalid character(s) in type {kind:?}"));
        }
        if let Some(name) = name
            && (name.chars().count() > 1024
                || name.chars().any(|c| c.is_control() || c.is_whitespace()))
        {
            return Err(format!("invalid character(s) in name {name:?}"));
        }
        Ok(Self { kind: kind.to_owned(), name: name.map(str::to_owned) })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        match &self.name {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

/// Items that were accepted and then given up, over the life of the process.
///
/// A clean stop exits with 0 only if nothing was lost while stopping.
#[derive(Debug, Default)]
pub struct Losses(AtomicU64);

impl Losses {
    /// Notes `items` as lost.
    pub fn add(&self, items: usize) {
        self.0.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// Items lost so far.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a component is told when it is built.
#[derive(Debug, Clone)]
pub struct Context {
    /// Its id.
    pub id: ComponentId,
    /// The signal of its pipeline; for a connector, of the pipeline that it ends.
    pub signal: Signal,
    /// For a connector, the signal of the pipeline that it begins; else as `signal`.
    pub output: Signal,
    /// Where it notes what it accepted and then gave up.
    pub losses: Arc<Losses>,
    /// A stable name of this process among its peers: configured, else the host's.
    pub instance: Arc<str>,
    /// What it shares with other components.
    pub commons: Arc<Commons>,
}

/// Why a component could not be built; the text is fit for a user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(pub String);

impl BuildError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A receiver's next consumers, one for each signal that has a pipeline.
pub type Outputs = BTreeMap<Signal, Next>;

/// A receiver's section of the configuration.
#[async_trait]
pub trait ReceiverConfig: Decode + Default + Send + Sync + 'static {
    /// Type as configured.
    const TYPE: &'static str;
    /// Older spellings of the type.
    const ALIASES: &'static [&'static str] = &[];
    /// Signals it can give.
    const SIGNALS: &'static [Signal];
    /// Reports everything that is wrong. Does no I/O.
    fn validate(&self, _at: &Path<'_>, _problems: &mut Problems) {}
    /// Binds its ports and begins to serve in the background.
    async fn start(&self, ctx: &Context, outputs: Outputs)
    -> Result<Box<dyn Receiver>, BuildError>;
}

/// A receiver that serves.
#[async_trait]
pub trait Receiver: Send + Sync {
    /// The addresses it listens on, with the ports that were really bound.
    fn addresses(&self) -> Vec<SocketAddr>;
    /// Takes nothing new and answers what was begun, until `deadline`.
    async fn shutdown(self: Box<Self>, deadline: Instant);
}

/// A processor's section of the configuration. One is built for each pipeline.
pub trait ProcessorConfig: Decode + Default + Send + Sync + 'static {
    /// Type as configured.
    const TYPE: &'static str;
    /// Older spellings of the type.
    const ALIASES: &'static [&'static str] = &[];
    /// Keys that can change while it runs; its consumer then implements
    /// [`reload`](crate::consumer::Consumer::reload).
    const LIVE: &'static [&'static str] = &[];
    /// Signals it can process.
    const SIGNALS: &'static [Signal];
    /// Reports everything that is wrong. Does no I/O.
    fn validate(&self, _at: &Path<'_>, _problems: &mut Problems) {}
    /// Makes the consumer that hands on to `next`. Called within the runtime.
    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError>;
}

/// A connector's section of the configuration. One is built for each pair of signals in use.
pub trait ConnectorConfig: Decode + Default + Send + Sync + 'static {
    /// Type as configured.
    const TYPE: &'static str;
    /// Older spellings of the type.
    const ALIASES: &'static [&'static str] = &[];
    /// Keys that can change while it runs; its consumer then implements
    /// [`reload`](crate::consumer::Consumer::reload).
    const LIVE: &'static [&'static str] = &[];
    /// Pairs of signals: of the pipeline it ends and of the one it begins.
    const SIGNALS: &'static [(Signal, Signal)];
    /// Reports everything that is wrong. Does no I/O.
    fn validate(&self, _at: &Path<'_>, _problems: &mut Problems) {}
    /// Makes the consumer that hands on to `next`. Called within the runtime.
    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError>;
}

/// An exporter's section of the configuration. One is built for each signal in use.
pub trait ExporterConfig: Decode + Default + Send + Sync + 'static {
    /// Type as configured.
    const TYPE: &'static str;
    /// Older spellings of the type.
    const ALIASES: &'static [&'static str] = &[];
    /// Signals it can export.
    const SIGNALS: &'static [Signal];
    /// Reports everything that is wrong. Does no I/O.
    fn validate(&self, _at: &Path<'_>, _problems: &mut Problems) {}
    /// Makes the consumer. Called within the runtime; may touch the world.
    fn build(&self, ctx: &Context) -> Result<Next, BuildError>;
}

/// An extension's section of the configuration.
#[async_trait]
pub trait ExtensionConfig: Decode + Default + Send + Sync + 'static {
    /// Type as configured.
    const TYPE: &'static str;
    /// Older spellings of the type.
    const ALIASES: &'static [&'static str] = &[];
    /// What it can do for clients and servers that name it as their authenticator.
    const AUTHENTICATES: &'static [Side] = &[];
    /// Reports everything that is wrong. Does no I/O.
    fn validate(&self, _at: &Path<'_>, _problems: &mut Problems) {}
    /// Begins to serve in the background.
    async fn start(&self, id: &ComponentId) -> Result<Box<dyn Extension>, BuildError>;
}

/// An extension that serves.
#[async_trait]
pub trait Extension: Send + Sync {
    /// All pipelines run.
    fn ready(&self) {}
    /// The process is about to stop.
    fn not_ready(&self) {}
    /// The addresses it listens on, with the ports that were really bound.
    fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
    /// What it does for clients and servers, if anything. It may build on other extensions that
    /// `commons` has, and says which metadata it reads.
    ///
    /// # Errors
    /// When one that it builds on is not there; it is asked again when there are more.
    fn authenticator(&self, _commons: &Commons) -> Result<Option<Authenticator>, BuildError> {
        Ok(None)
    }
    /// Ends it.
    async fn shutdown(self: Box<Self>);
}
