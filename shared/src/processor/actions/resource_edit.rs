//! Changes the resources of a batch and nothing else.

use super::list::AttributeList;
use crate::wire::{Editor, Head, Resource, ResourceEntry, Visit};

/// Does the same to each resource's attributes.
pub(crate) struct ResourceEdit<'a, F> {
    change: F,
    list: AttributeList<'a>,
    resource: Option<Resource<'a>>,
}

impl<'a, F: FnMut(&mut AttributeList<'a>)> ResourceEdit<'a, F> {
    /// Does `change`.
    pub(crate) fn new(change: F) -> Self {
        Self { change, list: AttributeList::default(), resource: None }
    }
}

impl<'a, F: FnMut(&mut AttributeList<'a>)> Editor<'a> for ResourceEdit<'a, F> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        self.list.read(1, entry.resource().messages());
        (self.change)(&mut self.list);
        self.resource = Some(entry.resource());
        Visit::Over
    }

    fn leave_resource(&mut self, head: &mut Head) {
        if let Some(resource) = self.resource
            && self.list.is_changed()
        {
            self.list.write(&resource.messages(), head.replace());
        }
    }
}
