//! `processors::filter`, with the Collector's keys.

use std::sync::Arc;

use super::before_ottl::{BeforeOttl, SpanFilters};
use super::legacy::{self, LogFilters, MetricFilters, Named, TraceFilters};
use super::{ErrorMetrics, Filter, filtered};
use crate::config::{NotSupported, Path, Problems};
use crate::config_struct;
use crate::consumer::Next;
use crate::ottl::{Context, Group};
use crate::processor::items::Items;
use crate::processor::ottl::{ErrorMode, Failures, GroupConfig, Groups};
use crate::service::{self, BuildError, ProcessorConfig};
use crate::telemetry::thin::Thin;
use crate::wire::Signal;

config_struct! {
    /// Drops what conditions hold for.
    pub struct FilterConfig {
        /// What follows when a condition cannot be evaluated.
        pub error_mode: ErrorMode = ErrorMode::Ignore,
        /// Conditions on traces; the paths tell what they are about, or a group's `context`.
        pub trace_conditions: Groups<ConditionsConfig> = Groups::default(),
        /// Conditions on metrics.
        pub metric_conditions: Groups<ConditionsConfig> = Groups::default(),
        /// Conditions on log records.
        pub log_conditions: Groups<ConditionsConfig> = Groups::default(),
        /// There are no profiles here.
        pub profile_conditions: NotSupported = NotSupported,
        /// Conditions by what they are about.
        pub traces: TraceFilters = TraceFilters::default(),
        /// Conditions by what they are about.
        pub metrics: MetricFilters = MetricFilters::default(),
        /// Conditions by what they are about.
        pub logs: LogFilters = LogFilters::default(),
        /// There are no profiles here.
        pub profiles: NotSupported = NotSupported,
        /// The form before OTTL: which spans to keep and to drop.
        pub spans: SpanFilters = SpanFilters::default(),
    }
}

config_struct! {
    /// A group of conditions, of which any drops.
    pub struct ConditionsConfig {
        /// What the conditions are about; without it, their paths tell.
        pub context: Option<Context> = None,
        /// The conditions.
        pub conditions: Vec<String> = Vec::new(),
        /// What follows when one of them cannot be evaluated; without it, what the filter has.
        pub error_mode: Option<ErrorMode> = None,
    }
}

impl GroupConfig for ConditionsConfig {
    fn of_texts(conditions: Vec<String>) -> Self {
        Self { conditions, ..Self::default() }
    }

    fn context(&self) -> Option<Context> {
        self.context
    }

    fn conditions(&self) -> &[String] {
        &self.conditions
    }

    fn statements(&self) -> &[String] {
        &[]
    }

    fn error_mode(&self) -> Option<ErrorMode> {
        self.error_mode
    }
}

impl FilterConfig {
    /// The conditions of a signal, in both forms.
    fn of(&self, signal: Signal) -> (&Groups<ConditionsConfig>, Vec<Named<'_>>) {
        match signal {
            Signal::Traces => (&self.trace_conditions, self.traces.lists().to_vec()),
            Signal::Metrics => (&self.metric_conditions, self.metrics.lists().to_vec()),
            Signal::Logs => (&self.log_conditions, self.logs.lists().to_vec()),
        }
    }

    /// The form before OTTL.
    fn before_ottl(&self, signal: Signal) -> BeforeOttl {
        match signal {
            Signal::Traces => BeforeOttl::of_spans(&self.spans),
            Signal::Metrics => BeforeOttl::of_metrics(&self.metrics.include, &self.metrics.exclude),
            Signal::Logs => BeforeOttl::of_logs(&self.logs.include, &self.logs.exclude),
        }
    }

    fn groups(&self, signal: Signal) -> Vec<(Group, ErrorMode)> {
        let (conditions, lists) = self.of(signal);
        let mut groups = conditions.parse(signal, self.error_mode).expect("validate parsed them");
        groups.extend(legacy::groups(&lists, signal, self.error_mode));
        groups
    }
}

impl ProcessorConfig for FilterConfig {
    const TYPE: &'static str = "filter";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        for (signal, key, section) in [
            (Signal::Traces, "trace_conditions", "traces"),
            (Signal::Metrics, "metric_conditions", "metrics"),
            (Signal::Logs, "log_conditions", "logs"),
        ] {
            let (conditions, lists) = self.of(signal);
            let named = lists.iter().filter(|(_, _, conditions)| !conditions.is_empty());
            let named: Vec<_> = named.map(|(key, _, _)| format!("{section}::{key}")).collect();
            let before = self.before_ottl(signal);
            let (first, others) = match conditions.is_empty() {
                false => (Some(key.to_owned()), [named, before.keys()].concat()),
                true => (named.into_iter().next(), before.keys()),
            };
            if let Some(first) = first
                && !others.is_empty()
            {
                let message = format!("cannot be used together with {}", others.join(", "));
                problems.report(&at.key(&first), message);
            }
            conditions.validate(signal, &at.key(key), problems);
            legacy::validate(&lists, signal, &at.key(section), problems);
            before.validate(signal, at, problems);
        }
    }

    fn build(&self, ctx: &service::Context, next: Next) -> Result<Next, BuildError> {
        let id = ctx.id.to_string();
        let labels = &[("filter", id.as_str()), ("data_type", ctx.signal.name())];
        Ok(Arc::new(Filter {
            groups: self.groups(ctx.signal),
            selections: self.before_ottl(ctx.signal).selections(ctx.signal)?,
            failures: Failures {
                what: "condition",
                processor: id.clone(),
                errors: ErrorMetrics::new(labels).errors,
                thin: Thin::new(),
            },
            filtered: filtered(&id, ctx.signal),
            items: Items::new(ctx),
            next,
        }))
    }
}
