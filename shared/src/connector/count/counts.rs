//! The counts of one batch. No I/O, no clock.

use hashbrown::HashMap;

use super::definition::Definition;
use crate::identity::hash_attributes;
use crate::ottl::{Condition, EvalError, Scope};
use crate::wire::{Attributes, Resource, ResourceEntry, ScopeEntry, Temporality, Writer};
use crate::{Batch, Signal};

/// The scope's name that the Collector writes.
const SCOPE: &[u8] =
    b"github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector";

/// What was counted of one batch, by resource.
pub(super) struct Counts<'a> {
    definitions: &'a [Definition],
    /// In the order in which they first came.
    resources: Vec<OfResource<'a>>,
    /// Places in `resources`, so that a resource that stands twice in a batch is counted once.
    places: HashMap<u128, usize>,
    current: usize,
    /// Attributes of a point, as they are written.
    key: Writer,
    pub(super) condition_errors: u64,
    /// The last of them, for the log.
    pub(super) last_error: Option<EvalError>,
}

struct OfResource<'a> {
    resource: Resource<'a>,
    /// For each definition the counts by the attributes of their points.
    tables: Vec<Table>,
}

#[derive(Default)]
struct Table {
    /// In the order in which they first came.
    points: Vec<(Box<[u8]>, u64)>,
    places: HashMap<Box<[u8]>, usize>,
}

/// A thing that is counted, with the attributes that its metric may be told apart by.
pub(super) struct Thing<'a> {
    /// Its own; metrics have none.
    pub(super) attributes: Option<Attributes<'a>>,
    pub(super) scope: ScopeEntry<'a>,
    pub(super) resource: Resource<'a>,
}

impl<'a> Counts<'a> {
    pub(super) fn new(definitions: &'a [Definition]) -> Self {
        Self {
            definitions,
            resources: Vec::new(),
            places: HashMap::new(),
            current: 0,
            key: Writer::with_capacity(128),
            condition_errors: 0,
            last_error: None,
        }
    }

    /// The next things are of this entry.
    pub(super) fn enter(&mut self, entry: ResourceEntry<'a>) {
        let resource = entry.resource();
        let id = hash_attributes(resource.attributes());
        self.current = *self.places.entry(id).or_insert_with(|| {
            let tables = self.definitions.iter().map(|_| Table::default()).collect();
            self.resources.push(OfResource { resource, tables });
            self.resources.len() - 1
        });
    }

    /// Counts a thing in all metrics of its kind whose conditions it fulfils.
    pub(super) fn count(
        &mut self,
        definitions: std::ops::Range<usize>,
        thing: &Thing<'a>,
        scope: &impl Scope,
    ) {
        for index in definitions {
            let definition = &self.definitions[index];
            if !definition.write_key(thing, &mut self.key)
                || !self.holds(&definition.conditions, scope)
            {
                continue;
            }
            self.resources[self.current].tables[index].count(self.key.as_slice());
        }
    }

    /// Whether one of the conditions holds, or there is none. One that cannot be evaluated does
    /// not.
    fn holds(&mut self, conditions: &[Condition], scope: &impl Scope) -> bool {
        conditions.is_empty()
            || conditions.iter().any(|condition| match condition.matches(scope) {
                Ok(holds) => holds,
                Err(error) => {
                    self.condition_errors += 1;
                    self.last_error = Some(error);
                    false
                }
            })
    }

    /// The metrics: of the interval, which nothing else is counted in. `None` if nothing was
    /// counted.
    pub(super) fn write(&self, start_ns: u64, time_ns: u64) -> Option<Batch> {
        let (mut request, mut points) = (Writer::new(), 0);
        for of_resource in &self.resources {
            let counted = of_resource.tables.iter().map(|table| table.points.len()).sum::<usize>();
            if counted == 0 {
                continue;
            }
            points += counted;
            request.message(1, |entry| {
                entry.message(1, |message| {
                    of_resource.resource.messages().for_each(|fields| message.raw(fields));
                });
                entry.message(2, |scope| {
                    scope.message(1, |scope| scope.bytes(1, SCOPE));
                    for (definition, table) in self.definitions.iter().zip(&of_resource.tables) {
                        if !table.points.is_empty() {
                            scope.message(2, |metric| {
                                table.write(definition, start_ns, time_ns, metric);
                            });
                        }
                    }
                });
            });
        }
        let bytes = request.into_vec().into();
        (points > 0).then(|| Batch::empty(Signal::Metrics).part(bytes, points))
    }
}

impl Table {
    fn count(&mut self, key: &[u8]) {
        match self.places.get(key) {
            Some(place) => self.points[*place].1 += 1,
            None => {
                self.places.insert(key.into(), self.points.len());
                self.points.push((key.into(), 1));
            }
        }
    }

    fn write(&self, definition: &Definition, start_ns: u64, time_ns: u64, metric: &mut Writer) {
        metric.bytes(1, definition.name.as_bytes());
        metric.bytes(2, definition.description.as_bytes());
        metric.message(7, |sum| {
            for (key, count) in &self.points {
                sum.message(1, |point| {
                    point.fixed64(2, start_ns);
                    point.fixed64(3, time_ns);
                    point.fixed64(6, *count);
                    point.raw(key);
                });
            }
            sum.varint(2, Temporality::Delta.number());
            sum.varint(3, 1); // is_monotonic
        });
    }
}
