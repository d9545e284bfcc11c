//! What both tiers of Tailrace stand on.
//!
//! In reading order: [`wire`] reads and writes OTLP as bytes; a [`batch`] is such bytes, checked
//! once, with the [`metadata`] that it came with; [`consumer`] is the one seam between components;
//! [`auth`] is what authenticators do; [`config`], [`telemetry`] and [`clock`] are leaves;
//! [`ottl`] evaluates conditions on records and changes them, [`semconv`] knows what spans are
//! called, [`exponential_histogram`] counts values. On these stand [`queue`], [`processor`],
//! [`connector`], [`exporter`], [`transport`], [`otlp`], [`membership`] and [`extension`];
//! [`service`] makes a process of them.

pub mod wire;

pub mod auth;
pub mod batch;
pub mod consumer;
pub mod metadata;

pub mod clock;
pub mod config;
pub mod exponential_histogram;
pub mod identity;
pub mod ottl;
pub mod semconv;
pub mod telemetry;

pub mod connector;
pub mod exporter;
pub mod extension;
pub mod membership;
pub mod otlp;
pub mod processor;
pub mod queue;
pub mod transport;

pub mod service;

pub use batch::Batch;
pub use consumer::{Consumer, FanOut, Next, Rejected, RejectedKind};
pub use metrics;
pub use wire::Signal;
