//! Components for tests that note what happens to them.

use std::any::Any;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::factory::{
    BuildError, ConnectorConfig, Context, ExporterConfig, Kind, Outputs, ProcessorConfig, Receiver,
    ReceiverConfig,
};
use super::registry::Registry;
use crate::batch::Batch;
use crate::config::{Path, Problems};
use crate::config_struct;
use crate::consumer::{Consumer, Next, Rejected};
use crate::wire::Signal;

thread_local! {
    /// What happened on this thread, which is the whole runtime of a test.
    static EVENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(what: &str, ctx: &Context) {
    let signals = match ctx.signal == ctx.output {
        true => ctx.signal.to_string(),
        false => format!("{} to {}", ctx.signal, ctx.output),
    };
    EVENTS.with_borrow_mut(|events| events.push(format!("{what} {} ({signals})", ctx.id)));
}

/// What happened since this was asked last.
pub(super) fn events() -> Vec<String> {
    EVENTS.take()
}

/// The component types of the tests.
pub(super) fn registry() -> Registry {
    Registry::new()
        .receiver::<ReceiverSection>()
        .processor::<ProcessorSection>()
        .processor::<TracesOnlySection>()
        .exporter::<ExporterSection>()
        .exporter::<DebugSection>()
        .connector::<ForwardSection>()
        .connector::<SpanMetricsSection>()
        .elsewhere(Kind::Processor, "tail_sampling", "backend")
}

macro_rules! section {
    ($name:ident) => {
        config_struct! {
            /// A section of the tests.
            pub(super) struct $name {
                /// Must be below 10.
                pub size: u32 = 1,
                /// Must be set where the size is 2.
                pub limit: Option<u32> = None,
                /// Any text.
                pub endpoint: String = String::new(),
                /// How long stopping takes.
                pub linger: Duration = Duration::ZERO,
            }
        }

        impl $name {
            fn check(&self, at: &Path<'_>, problems: &mut Problems) {
                if self.size >= 10 {
                    problems.report(&at.key("size"), "must be below 10");
                }
                if self.size == 2 && self.limit.is_none() {
                    problems.report(&at.key("limit"), "must be set with this size");
                }
            }
        }
    };
}
section!(ReceiverSection);
section!(ProcessorSection);
section!(TracesOnlySection);
section!(ExporterSection);
section!(DebugSection);
section!(ForwardSection);
section!(SpanMetricsSection);

/// Hands on what it gets, if there is a next.
struct Noting {
    ctx: Context,
    next: Option<Next>,
    linger: Duration,
}

#[async_trait]
impl Consumer for Noting {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        note("consume", &self.ctx);
        match &self.next {
            Some(next) => next.consume(batch).await,
            None => Ok(()),
        }
    }

    fn reload(&self, section: &dyn Any) {
        let section = section.downcast_ref::<ProcessorSection>().unwrap();
        note(&format!("limit {:?}", section.limit), &self.ctx);
    }

    async fn shutdown(&self, _deadline: Instant) {
        note("stop", &self.ctx);
        tokio::time::sleep(self.linger).await;
    }
}

struct Door(Context, SocketAddr);

#[async_trait]
impl Receiver for Door {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.1]
    }

    async fn shutdown(self: Box<Self>, _deadline: Instant) {
        note("stop", &self.0);
    }
}

#[async_trait]
impl ReceiverConfig for ReceiverSection {
    const TYPE: &'static str = "otlp";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check(at, problems);
    }

    /// Hands one batch to each of its outputs.
    async fn start(
        &self,
        ctx: &Context,
        outputs: Outputs,
    ) -> Result<Box<dyn Receiver>, BuildError> {
        note("start", ctx);
        if self.endpoint == "taken" {
            return Err(BuildError::new("address already in use"));
        }
        for (signal, next) in outputs {
            next.consume(Batch::empty(signal)).await.map_err(|no| BuildError::new(no.reason))?;
        }
        Ok(Box::new(Door(ctx.clone(), ([127, 0, 0, 1], 4317).into())))
    }
}

macro_rules! consumer {
    ($section:ident, $config:ident, $type:literal, $aliases:expr, $signal:ty, $signals:expr) => {
        impl $config for $section {
            const TYPE: &'static str = $type;
            const ALIASES: &'static [&'static str] = $aliases;
            const LIVE: &'static [&'static str] = &["limit", "endpoint"];
            const SIGNALS: &'static [$signal] = $signals;

            fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
                self.check(at, problems);
            }

            fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
                note("build", ctx);
                let ctx = ctx.clone();
                Ok(Arc::new(Noting { ctx, next: Some(next), linger: self.linger }))
            }
        }
    };
    ($section:ident, $type:literal, $aliases:expr) => {
        impl ExporterConfig for $section {
            const TYPE: &'static str = $type;
            const ALIASES: &'static [&'static str] = $aliases;
            const SIGNALS: &'static [Signal] = &Signal::ALL;

            fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
                self.check(at, problems);
            }

            fn build(&self, ctx: &Context) -> Result<Next, BuildError> {
                note("build", ctx);
                Ok(Arc::new(Noting { ctx: ctx.clone(), next: None, linger: self.linger }))
            }
        }
    };
}
consumer!(ProcessorSection, ProcessorConfig, "batch", &[], Signal, &Signal::ALL);
consumer!(TracesOnlySection, ProcessorConfig, "spans", &[], Signal, &[Signal::Traces]);
consumer!(ExporterSection, "otlp_grpc", &["otlp"]);
consumer!(DebugSection, "debug", &["logging"]);
type Pair = (Signal, Signal);
consumer!(ForwardSection, ConnectorConfig, "forward", &[], Pair, {
    &[(Signal::Traces, Signal::Traces), (Signal::Logs, Signal::Logs)]
});
consumer!(SpanMetricsSection, ConnectorConfig, "span_metrics", &["spanmetrics"], Pair, {
    &[(Signal::Traces, Signal::Metrics)]
});
