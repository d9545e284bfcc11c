//! `resource`: changes the attributes of resources.
//!
//! It looks at resources only, so it costs the same however many records they have. Source: contrib
//! processor/resourceprocessor.

use std::sync::Arc;

use async_trait::async_trait;

use super::actions::{self, ActionConfig, Actions, ResourceEdit};
use super::items::Items;
use crate::batch::Batch;
use crate::config::{Path, Problems};
use crate::config_struct;
use crate::consumer::{Consumer, Next, Rejected};
use crate::service::{BuildError, Context, ProcessorConfig};
use crate::wire::{Empties, Signal};

config_struct! {
    /// `resource`.
    pub struct ResourceConfig {
        /// What is done, in order.
        pub attributes: Vec<ActionConfig> = Vec::new(),
    }
}

impl ProcessorConfig for ResourceConfig {
    const TYPE: &'static str = "resource";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        actions::validate(&self.attributes, &at.key("attributes"), problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        let actions = Actions::new(&self.attributes);
        ctx.commons.want(|wanted| actions.want(wanted));
        Ok(Arc::new(ResourceProcessor { actions, items: Items::new(ctx), next }))
    }
}

struct ResourceProcessor {
    actions: Actions,
    items: Items,
    next: Next,
}

#[async_trait]
impl Consumer for ResourceProcessor {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let changed = {
            let given = self.actions.given(batch.metadata().map(|metadata| &**metadata));
            let mut edit = ResourceEdit::new(|list| self.actions.apply(&given, list));
            batch.rewrite(Empties::Keep, &mut edit)
        };
        self.items.note(batch.items(), changed.items());
        drop(batch);
        self.next.consume(changed).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::testing::section;
    use crate::processor::testing::{Probe, process};
    use crate::wire::{AnyValue, Writer, resources};

    fn batch(attributes: &[(&str, &str)]) -> Batch {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            if !attributes.is_empty() {
                entry.message(1, |resource| {
                    for (key, value) in attributes {
                        resource.string_attribute(1, key.as_bytes(), value.as_bytes());
                    }
                    resource.varint(2, 9);
                });
            }
            entry.message(2, |scope| scope.message(2, |span| span.bytes(5, b"name")));
        });
        Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
    }

    #[tokio::test]
    async fn only_resources_change() {
        let json = json!({"attributes": [
            {"key": "deployment.environment", "action": "upsert", "value": "test"},
            {"pattern": "^process\\.", "action": "delete"},
        ]});
        let probe = Probe::default();
        for attributes in [&[("process.pid", "7"), ("host.name", "a")][..], &[]] {
            let taken = process::<ResourceConfig>(&json, batch(attributes), &probe).await.unwrap();
            let entry = resources(taken.bytes()).next().unwrap();
            let resource = entry.resource();
            let environment = resource.attribute(b"deployment.environment");
            assert_eq!(environment, Some(AnyValue::String(b"test")));
            assert_eq!(resource.attribute(b"process.pid"), None);
            assert_eq!(resource.attribute(b"host.name").is_some(), !attributes.is_empty());
            assert_eq!((taken.items(), entry.scopes().count()), (1, 1));
        }
    }

    #[tokio::test]
    async fn a_batch_without_changes_is_passed_on_as_it_is() {
        let json = json!({"attributes": [{"key": "a", "action": "update", "value": 1}]});
        let batch = batch(&[("b", "1")]);
        let bytes = batch.bytes().clone();
        let taken = process::<ResourceConfig>(&json, batch, &Probe::default()).await.unwrap();
        assert_eq!(taken.bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn problems_are_named_by_their_key() {
        let json = json!({"attributes": [{"key": "a", "action": "insert"}]});
        let (_, problems, _) = section(&json, ResourceConfig::validate);
        assert!(problems[0].starts_with("a::attributes::0: one of"), "{problems:?}");
        let (_, problems, _) = section(&json!({}), ResourceConfig::validate);
        assert_eq!(problems, ["a::attributes: at least one action must be specified"]);
    }
}
