//! What `filter` and `transform` have in common: lists of OTTL texts, with a context or without,
//! and what follows when one of them cannot be evaluated.

use std::ops::ControlFlow;

use metrics::Counter;
use tracing::warn;

use crate::clock;
use crate::config::{Data, Decode, Fields, Node, Path, Problems, expected};
use crate::ottl::{Context, EvalError, Fault, Faulty, Group};
use crate::telemetry::thin::Thin;
use crate::wire::Signal;

/// What follows when a text cannot be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorMode {
    /// That is logged, and the text passed over.
    Ignore,
    /// The text is passed over.
    Silent,
    /// The whole batch is rejected.
    Propagate,
}

impl Decode for ErrorMode {
    /// In any case, as in the Collector.
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::decode(node, at, problems)?;
        match text.to_ascii_lowercase().as_str() {
            "ignore" => Some(Self::Ignore),
            "silent" => Some(Self::Silent),
            "propagate" => Some(Self::Propagate),
            _ => expected("one of ignore, silent, propagate", node, at, problems),
        }
    }
}

impl Decode for Context {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::decode(node, at, problems)?;
        let name = text.to_ascii_lowercase();
        let found = Context::ALL.into_iter().find(|context| context.name() == name);
        match (found, name.as_str()) {
            (Some(context), _) => Some(context),
            (None, "exemplar" | "profile") => {
                problems.report(at, format!("the context \"{name}\" is not supported yet"));
                None
            }
            (None, _) => {
                let names = Context::ALL.map(Context::name).join(", ");
                expected(&format!("one of {names}"), node, at, problems)
            }
        }
    }
}

/// A list of texts, or of groups of them: `G` is one group.
#[derive(Debug, Clone)]
pub struct Groups<G> {
    groups: Vec<G>,
    /// Whether the list has the texts themselves; then there is one group.
    is_flat: bool,
}

impl<G> Default for Groups<G> {
    fn default() -> Self {
        Self { groups: Vec::new(), is_flat: false }
    }
}

/// The index of a group, and what is wrong with it.
type FaultyGroup = (usize, Vec<Fault>);

/// A group of texts as it is configured.
pub trait GroupConfig: Fields {
    /// The group of texts that stand in the list themselves.
    fn of_texts(texts: Vec<String>) -> Self;

    /// What the texts are about; `None` if their paths tell.
    fn context(&self) -> Option<Context>;

    /// The conditions.
    fn conditions(&self) -> &[String];

    /// The statements; filters have none.
    fn statements(&self) -> &[String];

    /// What follows when one cannot be evaluated, if it is not as for all groups.
    fn error_mode(&self) -> Option<ErrorMode>;
}

impl<G: GroupConfig> Decode for Groups<G> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Data::List(items) = &node.data else { return expected("a list", node, at, problems) };
        let (mut texts, mut groups) = (Vec::new(), Vec::new());
        let mut is_right = true;
        for (index, item) in items.iter().enumerate() {
            let at = at.index(index);
            match &item.data {
                Data::Map(_) => match G::decode_fields(item, &at, problems) {
                    Some(group) => groups.push(group),
                    None => is_right = false,
                },
                _ => match String::decode(item, &at, problems) {
                    Some(text) => texts.push(text),
                    None => is_right = false,
                },
            }
        }
        if !texts.is_empty() && !groups.is_empty() {
            problems.report(at, "must have either texts or groups, not both");
            return None;
        }
        let is_flat = !texts.is_empty();
        if is_flat {
            groups.push(G::of_texts(texts));
        }
        is_right.then_some(Self { groups, is_flat })
    }
}

impl<G: GroupConfig> Groups<G> {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups, parsed, each with its error mode.
    pub(super) fn parse(
        &self,
        signal: Signal,
        error_mode: ErrorMode,
    ) -> Result<Vec<(Group, ErrorMode)>, Vec<FaultyGroup>> {
        let (mut parsed, mut faults) = (Vec::new(), Vec::new());
        for (index, config) in self.groups.iter().enumerate() {
            match Group::parse(signal, config.context(), config.conditions(), config.statements()) {
                Ok(group) => parsed.push((group, config.error_mode().unwrap_or(error_mode))),
                Err(of_group) => faults.push((index, of_group)),
            }
        }
        if faults.is_empty() { Ok(parsed) } else { Err(faults) }
    }

    /// Reports everything that is wrong with the groups, which stand at `at`.
    pub(super) fn validate(&self, signal: Signal, at: &Path<'_>, problems: &mut Problems) {
        for (index, group) in self.groups.iter().enumerate() {
            let at_group = at.index(index);
            if let Some(context) = group.context().filter(|context| !context.is_of(signal)) {
                let message = format!("{signal} have no context \"{context}\"");
                problems.report(&at_group.key("context"), message);
            }
        }
        let Err(faults) = self.parse(signal, ErrorMode::Ignore) else { return };
        for (index, faults) in faults {
            let at_group = at.index(index);
            let group = &self.groups[index];
            for fault in faults {
                let (key, text_index, texts) = match fault.at {
                    Faulty::Group if self.is_flat => {
                        problems.report(at, fault.error.message.clone());
                        continue;
                    }
                    Faulty::Group => {
                        problems.report(&at_group, fault.error.message.clone());
                        continue;
                    }
                    Faulty::Condition(index) => ("conditions", index, group.conditions()),
                    Faulty::Statement(index) => ("statements", index, group.statements()),
                };
                let text = texts.get(text_index).map(String::as_str).unwrap_or_default();
                let message = fault.error.located(text);
                match self.is_flat {
                    true => problems.report(&at.index(text_index), message),
                    false => problems.report(&at_group.key(key).index(text_index), message),
                }
            }
        }
    }
}

/// Counts and logs what cannot be evaluated.
pub(super) struct Failures {
    /// What the texts are, for the log line.
    pub(super) what: &'static str,
    pub(super) processor: String,
    pub(super) errors: Counter,
    pub(super) thin: Thin,
}

impl Failures {
    /// Whether to go on after this one.
    pub(super) fn note(&self, mode: ErrorMode, text: &str, error: &EvalError) -> ControlFlow<()> {
        self.errors.increment(1);
        match mode {
            ErrorMode::Propagate => return ControlFlow::Break(()),
            ErrorMode::Silent => {}
            ErrorMode::Ignore => {
                if let Some(suppressed) = self.thin.pass(clock::now()) {
                    let (processor, what) = (&self.processor, self.what);
                    warn!(processor, what, text, %error, suppressed, "cannot be evaluated");
                }
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! A processor in a pipeline of its own, for the tests of both.

    use serde_json::Value;

    use crate::batch::Batch;
    use crate::config::testing::section;
    use crate::consumer::Rejected;
    use crate::processor::testing::{Probe, built};
    use crate::queue::tests::context;
    use crate::service::{Context, ProcessorConfig};
    use crate::wire::{ResourceEntry, ScopeEntry, Signal, Writer, resources};

    /// What a processor makes of a batch; `None` if nothing is left of it.
    pub(in crate::processor) async fn process<C: ProcessorConfig>(
        json: &Value,
        batch: &Batch,
    ) -> Result<Option<Batch>, Rejected> {
        let ctx = Context { signal: batch.signal(), output: batch.signal(), ..context() };
        let probe = Probe::default();
        built::<C>(json, &ctx, &probe).consume(batch.clone()).await?;
        let mut taken = probe.taken();
        assert!(taken.len() < 2, "one batch in, one batch out");
        let taken = taken.pop();
        if let Some(taken) = &taken {
            let checked = Batch::parse(taken.signal(), taken.bytes().clone()).unwrap();
            assert_eq!(*taken, checked, "a batch is what its bytes say");
        }
        Ok(taken)
    }

    /// The problems of a section.
    pub(in crate::processor) fn problems<C: ProcessorConfig>(json: &Value) -> Vec<String> {
        section::<C>(json, C::validate).1
    }

    /// A request with an entry for each service, which has one scope with these records.
    pub(in crate::processor) fn batch(signal: Signal, services: &[(&str, Vec<Vec<u8>>)]) -> Batch {
        let mut request = Writer::new();
        for (service, records) in services {
            request.message(1, |entry| {
                entry.message(1, |resource| {
                    resource.string_attribute(1, b"service.name", service.as_bytes());
                });
                entry.message(2, |scope| {
                    scope.message(1, |scope| scope.bytes(1, b"lib"));
                    for record in records {
                        scope.bytes(2, record);
                    }
                });
            });
        }
        Batch::parse(signal, request.into_vec().into()).unwrap()
    }

    /// A record of one text field: the name of a span (5) or a metric (1).
    pub(in crate::processor) fn named(field: u32, name: &str) -> Vec<u8> {
        let mut record = Writer::new();
        record.bytes(field, name.as_bytes());
        record.into_vec()
    }

    /// The records of a batch.
    pub(in crate::processor) fn records(batch: &Batch) -> Vec<&[u8]> {
        resources(batch.bytes())
            .flat_map(ResourceEntry::scopes)
            .flat_map(ScopeEntry::records)
            .collect()
    }
}
