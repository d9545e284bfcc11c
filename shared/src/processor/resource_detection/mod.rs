//! `resource_detection`: says of all resources what this process finds out about where it runs.
//!
//! Detected once, when the processor is built: from the environment, the host and the container.
//! Source: contrib processor/resourcedetectionprocessor.

mod detect;
mod environment;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tracing::info;

use super::actions::{AttributeList, ResourceEdit};
use super::items::Items;
use crate::batch::Batch;
use crate::config::{Path, Problems, Process, World};
use crate::config_struct;
use crate::consumer::{Consumer, Next, Rejected};
use crate::service::{BuildError, Context, ProcessorConfig};
use crate::wire::{Empties, Signal};
use detect::{Detected, Detector, SystemConfig};

config_struct! {
    /// `resource_detection`.
    pub struct ResourceDetectionConfig {
        /// Where to look, in order: what is found first counts.
        pub detectors: Vec<String> = vec!["env".to_owned()],
        /// Whether what is found replaces what resources say already.
        pub r#override: bool = true,
        /// Accepted: nothing is asked over the network.
        pub timeout: Duration = Duration::from_secs(5),
        /// How often to look again. Not supported: only 0.
        pub refresh_interval: Duration = Duration::ZERO,
        /// Accepted: nothing is asked over the network.
        pub fail_on_missing_metadata: bool = false,
        /// The detector `env`.
        pub env: EnvConfig = EnvConfig::default(),
        /// The detector `system`.
        pub system: SystemConfig = SystemConfig::default(),
    }
}

config_struct! {
    /// The detector `env`.
    pub struct EnvConfig {
        /// The keys that are taken; all, if it is left out.
        pub allowlist: Option<Vec<String>> = None,
    }
}

impl ProcessorConfig for ResourceDetectionConfig {
    const TYPE: &'static str = "resource_detection";
    const ALIASES: &'static [&'static str] = &["resourcedetection"];
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let detectors = at.key("detectors");
        if self.detectors.is_empty() {
            problems.report(&detectors, "at least one detector must be specified");
        }
        for (index, name) in self.detectors.iter().enumerate() {
            if let Err(problem) = Detector::named(name) {
                problems.report(&detectors.index(index), problem);
            }
        }
        if !self.refresh_interval.is_zero() {
            let text = "not supported: resources are detected once, at start";
            problems.report(&at.key("refresh_interval"), text);
        }
        self.system.validate(&at.key("system"), problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        let detected = self.detect(&Process)?;
        let keys: Vec<_> = detected.iter().map(|(key, _)| key.as_str()).collect();
        info!(processor = %ctx.id, attributes = ?keys, "detected resource information");
        Ok(Arc::new(ResourceDetection {
            detected,
            overrides: self.r#override,
            items: Items::new(ctx),
            next,
        }))
    }
}

impl ResourceDetectionConfig {
    /// What all detectors find; of two that find the same attribute the first counts.
    fn detect(&self, world: &dyn World) -> Result<Vec<Detected>, BuildError> {
        let mut detected: Vec<Detected> = Vec::new();
        for name in &self.detectors {
            let found = match Detector::named(name).map_err(BuildError::new)? {
                Detector::Env => environment::detect(world, self.env.allowlist.as_deref()),
                Detector::System => self.system.detect(world),
                Detector::Container => Ok(detect::container(world)),
            };
            let found = found.map_err(|problem| {
                BuildError::new(format!("detector \"{name}\" failed: {problem}"))
            })?;
            for (key, value) in found {
                if detected.iter().all(|(known, _)| *known != key) {
                    detected.push((key, value));
                }
            }
        }
        Ok(detected)
    }
}

struct ResourceDetection {
    /// Keys, with values as `AnyValue` messages.
    detected: Vec<Detected>,
    overrides: bool,
    items: Items,
    next: Next,
}

impl ResourceDetection {
    fn add<'a>(&'a self, list: &mut AttributeList<'a>) {
        for (key, value) in &self.detected {
            let (key, value) = (Cow::Borrowed(key.as_bytes()), Cow::Borrowed(&value[..]));
            match self.overrides {
                true => list.upsert(key, value),
                false => list.insert(key, value),
            }
        }
    }
}

#[async_trait]
impl Consumer for ResourceDetection {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let changed = batch.rewrite(Empties::Keep, &mut ResourceEdit::new(|list| self.add(list)));
        self.items.note(batch.items(), changed.items());
        drop(batch);
        self.next.consume(changed).await
    }
}
