//! `attributes`: changes the attributes of spans, log records and data points.
//!
//! A record in which nothing changes keeps its bytes, and a batch of such records is passed on as
//! it is. Source: contrib processor/attributesprocessor.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use super::actions::{self, ActionConfig, Actions, AttributeList, Given};
use super::items::Items;
use super::selection::{MatchConfig, Place, Selection};
use crate::batch::Batch;
use crate::config::{Path, Problems, Section};
use crate::config_struct;
use crate::consumer::{Consumer, Next, Rejected};
use crate::service::{BuildError, Context, ProcessorConfig};
use crate::wire::rewrite::points;
use crate::wire::{
    Change, Editor, Empties, Metric, ResourceEntry, ScopeEntry, Signal, Visit, Writer,
};

config_struct! {
    /// `attributes`.
    pub struct AttributesConfig {
        /// What is done, in order.
        pub actions: Vec<ActionConfig> = Vec::new(),
        /// What it is done to; else to everything.
        pub include: Section<MatchConfig> = Section::none(),
        /// What of that it is not done to.
        pub exclude: Section<MatchConfig> = Section::none(),
    }
}

impl ProcessorConfig for AttributesConfig {
    const TYPE: &'static str = "attributes";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        actions::validate(&self.actions, &at.key("actions"), problems);
        for (key, section) in [("include", &self.include), ("exclude", &self.exclude)] {
            if let Some(config) = section.as_ref() {
                config.validate(&at.key(key), problems);
            }
        }
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        let actions = Actions::new(&self.actions);
        ctx.commons.want(|wanted| actions.want(wanted));
        let selection = Selection::new(self.include.as_ref(), self.exclude.as_ref(), ctx.signal)?;
        Ok(Arc::new(AttributesProcessor { actions, selection, items: Items::new(ctx), next }))
    }
}

struct AttributesProcessor {
    actions: Actions,
    selection: Selection,
    items: Items,
    next: Next,
}

#[async_trait]
impl Consumer for AttributesProcessor {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let changed = {
            let given = self.actions.given(batch.metadata().map(|metadata| &**metadata));
            let mut edit = Edit {
                signal: batch.signal(),
                actions: &self.actions,
                given: &given,
                selection: &self.selection,
                place: Place::default(),
                list: AttributeList::default(),
            };
            batch.rewrite(Empties::Keep, &mut edit)
        };
        self.items.note(batch.items(), changed.items());
        drop(batch);
        self.next.consume(changed).await
    }
}

/// Changes one batch.
struct Edit<'a> {
    signal: Signal,
    actions: &'a Actions,
    given: &'a Given,
    selection: &'a Selection,
    /// What the resource and the scope say of the selection.
    place: Place,
    list: AttributeList<'a>,
}

impl<'a> Edit<'a> {
    /// Changes the attributes under `number` of a record or a data point.
    fn change(&mut self, number: u32, message: &'a [u8], new: &mut Writer) -> Change {
        let message = || std::iter::once(message);
        self.list.read(number, message());
        self.actions.apply(self.given, &mut self.list);
        if !self.list.is_changed() {
            return Change::Keep;
        }
        self.list.write(&message(), new);
        Change::Replace
    }
}

impl<'a> Editor<'a> for Edit<'a> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        self.selection.enter_resource(entry, &mut self.place)
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) -> Visit {
        self.selection.enter_scope(scope, &mut self.place)
    }

    fn record(&mut self, record: &'a [u8], new: &mut Writer) -> Change {
        if !self.selection.has(record, self.signal, &self.place) {
            return Change::Keep;
        }
        match self.signal {
            Signal::Traces => self.change(9, record, new),
            Signal::Logs => self.change(6, record, new),
            Signal::Metrics => {
                let Some(kind) = Metric::read(record).kind else { return Change::Keep };
                let number = kind.attributes_field();
                points(record, Empties::Keep, new, |point, new| self.change(number, point, new))
            }
        }
    }
}
