//! `processors::transform`, with the Collector's keys.

use std::sync::Arc;

use super::{ErrorMetrics, Transform};
use crate::config::{NotSupported, Path, Problems};
use crate::config_struct;
use crate::consumer::Next;
use crate::ottl::Context;
use crate::processor::items::Items;
use crate::processor::ottl::{ErrorMode, Failures, GroupConfig, Groups};
use crate::service::{self, BuildError, ProcessorConfig};
use crate::telemetry::thin::Thin;
use crate::wire::Signal;

config_struct! {
    /// Changes what passes.
    pub struct TransformConfig {
        /// What follows when a condition or statement cannot be evaluated.
        pub error_mode: ErrorMode = ErrorMode::Ignore,
        /// Statements on traces; the paths tell what they are about, or a group's `context`.
        pub trace_statements: Groups<StatementsConfig> = Groups::default(),
        /// Statements on metrics.
        pub metric_statements: Groups<StatementsConfig> = Groups::default(),
        /// Statements on log records.
        pub log_statements: Groups<StatementsConfig> = Groups::default(),
        /// There are no profiles here.
        pub profile_statements: NotSupported = NotSupported,
        /// Behind a feature gate in the Collector.
        pub flatten_data: NotSupported = NotSupported,
    }
}

config_struct! {
    /// A group of statements.
    pub struct StatementsConfig {
        /// What the texts are about; without it, their paths tell.
        pub context: Option<Context> = None,
        /// Of these, one has to hold for the statements to be run; none means always.
        pub conditions: Vec<String> = Vec::new(),
        /// The statements, run in their order.
        pub statements: Vec<String> = Vec::new(),
        /// What follows when a text cannot be evaluated; without it, what the processor has.
        pub error_mode: Option<ErrorMode> = None,
        /// Each record has a scratch map of its own here.
        pub shared_cache: NotSupported = NotSupported,
        /// Behind a feature gate in the Collector.
        pub flatten: NotSupported = NotSupported,
    }
}

impl GroupConfig for StatementsConfig {
    fn of_texts(statements: Vec<String>) -> Self {
        Self { statements, ..Self::default() }
    }

    fn context(&self) -> Option<Context> {
        self.context
    }

    fn conditions(&self) -> &[String] {
        &self.conditions
    }

    fn statements(&self) -> &[String] {
        &self.statements
    }

    fn error_mode(&self) -> Option<ErrorMode> {
        self.error_mode
    }
}

impl TransformConfig {
    fn of(&self, signal: Signal) -> &Groups<StatementsConfig> {
        match signal {
            Signal::Traces => &self.trace_statements,
            Signal::Metrics => &self.metric_statements,
            Signal::Logs => &self.log_statements,
        }
    }
}

impl ProcessorConfig for TransformConfig {
    const TYPE: &'static str = "transform";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        for (signal, key) in [
            (Signal::Traces, "trace_statements"),
            (Signal::Metrics, "metric_statements"),
            (Signal::Logs, "log_statements"),
        ] {
            self.of(signal).validate(signal, &at.key(key), problems);
        }
    }

    fn build(&self, ctx: &service::Context, next: Next) -> Result<Next, BuildError> {
        let id = ctx.id.to_string();
        let groups = self.of(ctx.signal).parse(ctx.signal, self.error_mode);
        let labels = &[("processor", id.as_str()), ("data_type", ctx.signal.name())];
        Ok(Arc::new(Transform {
            groups: groups.expect("validate parsed them"),
            failures: Failures {
                what: "statement",
                processor: id.clone(),
                errors: ErrorMetrics::new(labels).errors,
                thin: Thin::new(),
            },
            items: Items::new(ctx),
            next,
        }))
    }
}
