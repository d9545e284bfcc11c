//! Spans before they are bytes.

use std::borrow::Cow;

/// A text that is mostly known at compile time.
pub type Text = Cow<'static, str>;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(Text),
    /// An integer.
    Int(i64),
    /// A boolean.
    Bool(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// Keys with their values.
pub type Attributes = Vec<(&'static str, Value)>;

/// `SpanKind` with its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Inside of a service.
    Internal = 1,
    /// Answers a call.
    Server = 2,
    /// Makes a call.
    Client = 3,
    /// Puts something into a queue.
    Producer = 4,
    /// Takes something out of a queue.
    Consumer = 5,
}

/// `StatusCode` with its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Not set.
    Unset = 0,
    /// Said to be a success.
    Ok = 1,
    /// Failed.
    Error = 2,
}

/// One process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Index into the vocabulary's services.
    pub service: usize,
    /// Which of the service's instances.
    pub instance: usize,
}

/// A span event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// What is said of it.
    pub attributes: Attributes,
}

/// A pointer to another span.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// The other span's trace.
    pub trace_id: [u8; 16],
    /// The other span.
    pub span_id: [u8; 8],
}

/// A span.
#[derive(Debug, Clone)]
pub struct Span {
    /// Which trace of the run it belongs to, counted from 0.
    pub trace: usize,
    /// That trace's id.
    pub trace_id: [u8; 16],
    /// Its own id.
    pub span_id: [u8; 8],
    /// The span it is a part of; none for a root.
    pub parent: Option<[u8; 8]>,
    /// The W3C tracestate header.
    pub trace_state: &'static str,
    /// Who made it.
    pub origin: Origin,
    /// Which of the service's two instrumentation scopes made it.
    pub scope: usize,
    /// Its name.
    pub name: Text,
    /// Its kind.
    pub kind: Kind,
    /// Nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// Its outcome.
    pub status: Status,
    /// Twelve of them.
    pub attributes: Attributes,
    /// What happened during the span.
    pub events: Vec<Event>,
    /// Other spans that it has to do with.
    pub links: Vec<Link>,
}
