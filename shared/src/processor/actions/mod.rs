//! What `attributes` and `resource` do with attributes: a list of actions, in order.
//!
//! Source: contrib internal/coreinternal/attraction. Where an attribute occurs twice, which it must
//! not, the Collector removes and hashes the first only; here it is all.

mod list;
mod resource_edit;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::fmt;

use ::regex::bytes::Regex;

pub(crate) use list::AttributeList;
pub(crate) use resource_edit::ResourceEdit;
pub(crate) use value::{ConvertedType, Literal, parse_double, text};

use crate::config::{Path, Problems};
use crate::metadata::{Metadata, Wanted};
use crate::ottl::regex;
use crate::wire::AnyValue;
use crate::{config_enum, config_struct};

config_enum! {
    /// What is done with an attribute.
    pub enum ActionKind {
        /// Set if it is not there.
        Insert = "insert" | "INSERT" | "Insert",
        /// Set if it is there.
        Update = "update" | "UPDATE" | "Update",
        /// Set.
        Upsert = "upsert" | "UPSERT" | "Upsert",
        /// Removed.
        Delete = "delete" | "DELETE" | "Delete",
        /// Replaced by its SHA-256 in hexadecimal.
        Hash = "hash" | "HASH" | "Hash",
        /// Read by a pattern whose groups name the attributes to be set.
        Extract = "extract" | "EXTRACT" | "Extract",
        /// Made a value of another type.
        Convert = "convert" | "CONVERT" | "Convert",
    }
}

config_struct! {
    /// One of the actions.
    pub struct ActionConfig {
        /// The attribute.
        pub key: String = String::new(),
        /// What is done with it.
        pub action: Option<ActionKind> = None,
        /// Its value, of the type that is written.
        pub value: Option<Literal> = None,
        /// The attribute whose value it gets.
        pub from_attribute: String = String::new(),
        /// Where else its value comes from: `metadata.` and a header of the batch's request, or
        /// `auth.` and what the receiver's authenticator said of the sender.
        pub from_context: String = String::new(),
        /// Its value when there is none there.
        pub default_value: Option<Literal> = None,
        /// What keys match that are deleted or hashed, or what is extracted.
        pub pattern: String = String::new(),
        /// What it is converted to.
        pub converted_type: Option<ConvertedType> = None,
    }
}

/// Reports everything that is wrong with the actions at `at`.
pub(crate) fn validate(actions: &[ActionConfig], at: &Path<'_>, problems: &mut Problems) {
    if actions.is_empty() {
        problems.report(at, "at least one action must be specified");
    }
    for (index, action) in actions.iter().enumerate() {
        let at = at.index(index);
        compile(action, &mut Vec::new(), &mut |key, message| match key {
            "" => problems.report(&at, message),
            key => problems.report(&at.key(key), message),
        });
    }
}

/// Actions that are ready.
#[derive(Debug)]
pub(crate) struct Actions {
    actions: Vec<Action>,
    contexts: Vec<Context>,
}

#[derive(Debug)]
enum Action {
    Set { how: How, key: Vec<u8>, source: Source },
    Delete(Keys),
    Hash(Keys),
    Extract { key: Vec<u8>, pattern: Regex, names: Vec<Vec<u8>> },
    Convert { key: Vec<u8>, to: ConvertedType },
}

#[derive(Debug, Clone, Copy)]
enum How {
    Insert,
    Update,
    Upsert,
}

/// Which attributes are meant.
#[derive(Debug)]
struct Keys {
    key: Vec<u8>,
    pattern: Option<Regex>,
}

impl Keys {
    fn have(&self, key: &[u8]) -> bool {
        (!self.key.is_empty() && *self.key == *key)
            || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(key))
    }
}

/// Where a value comes from; values are `AnyValue` messages.
#[derive(Debug)]
struct Source {
    first: First,
    default: Option<Vec<u8>>,
}

#[derive(Debug)]
enum First {
    Nothing,
    Fixed(Vec<u8>),
    Attribute(Vec<u8>),
    /// By its index among the contexts.
    Context(usize),
}

/// What was said with a batch.
#[derive(Debug, PartialEq, Eq)]
enum Context {
    Header(String),
    Attribute(&'static str),
    /// `client.address`.
    Peer,
}

/// What the contexts of one batch are, as `AnyValue` messages.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<Option<Vec<u8>>>);

impl Actions {
    /// Of a section that was found valid.
    pub(crate) fn new(configs: &[ActionConfig]) -> Self {
        let mut contexts = Vec::new();
        let compiled = configs.iter().map(|config| compile(config, &mut contexts, &mut |_, _| {}));
        Self { actions: compiled.flatten().collect(), contexts }
    }

    /// Says what metadata is read.
    pub(crate) fn want(&self, wanted: &mut Wanted) {
        for context in &self.contexts {
            match context {
                Context::Header(name) => wanted.header(name),
                Context::Attribute(name) => wanted.attribute(name),
                Context::Peer => wanted.peer(),
            }
        }
    }

    /// What is said with a batch of what is read.
    pub(crate) fn given(&self, metadata: Option<&Metadata>) -> Given {
        let read = |context: &Context| {
            let metadata = metadata?;
            match context {
                Context::Attribute(name) => Some(text(metadata.attribute(name)?.as_bytes())),
                Context::Peer => Some(text(metadata.peer()?.to_string().as_bytes())),
                Context::Header(name) => {
                    let values: Vec<_> =
                        metadata.header(name).iter().map(http::HeaderValue::as_bytes).collect();
                    (!values.is_empty()).then(|| text(&values.join(&b';')))
                }
            }
        };
        Given(self.contexts.iter().map(read).collect())
    }

    /// Does them to `list`.
    pub(crate) fn apply<'a>(&'a self, given: &'a Given, list: &mut AttributeList<'a>) {
        for action in &self.actions {
            action.apply(given, list);
        }
    }
}

impl Action {
    fn apply<'a>(&'a self, given: &'a Given, list: &mut AttributeList<'a>) {
        match self {
            Action::Set { how, key, source } => {
                let is_there = list.get(key).is_some();
                let is_meant = match how {
                    How::Insert => !is_there,
                    How::Update => is_there,
                    How::Upsert => true,
                };
                if is_meant && let Some(value) = source.value(given, list) {
                    list.upsert(Cow::Borrowed(key), value);
                }
            }
            Action::Delete(keys) => list.remove(|key| keys.have(key)),
            Action::Hash(keys) => {
                list.replace(|key| keys.have(key), |old| Some(value::hashed(old)));
            }
            Action::Convert { key, to } => {
                list.replace(|known| *known == **key, |old| value::converted(old, *to));
            }
            Action::Extract { key, pattern, names } => {
                let Some(value) = list.get(key).cloned() else { return };
                let AnyValue::String(read) = AnyValue::read(&value) else { return };
                let Some(groups) = pattern.captures(read) else { return };
                for (index, name) in names.iter().enumerate() {
                    let group = groups.get(index + 1).map_or(&b""[..], |group| group.as_bytes());
                    list.upsert(Cow::Borrowed(name), Cow::Owned(text(group)));
                }
            }
        }
    }
}

impl Source {
    fn value<'a>(&'a self, given: &'a Given, list: &AttributeList<'a>) -> Option<Cow<'a, [u8]>> {
        let found = match &self.first {
            First::Nothing => None,
            First::Fixed(value) => Some(Cow::Borrowed(&value[..])),
            First::Attribute(key) => list.get(key).cloned(),
            First::Context(index) => given.0.get(*index)?.as_deref().map(Cow::Borrowed),
        };
        found.or(self.default.as_deref().map(Cow::Borrowed))
    }
}

/// An action, unless something was reported: under which of its keys, and what is wrong.
fn compile(
    config: &ActionConfig,
    contexts: &mut Vec<Context>,
    report: &mut dyn FnMut(&'static str, String),
) -> Option<Action> {
    let Some(kind) = config.action else {
        report("", "missing required field \"action\"".to_owned());
        return None;
    };
    let mut unused = |fields: &[(&'static str, bool)]| {
        for (field, is_set) in fields {
            if *is_set {
                report(field, format!("action \"{}\" does not use it", kind.name()));
            }
        }
    };
    let values = [
        ("value", config.value.is_some()),
        ("from_attribute", !config.from_attribute.is_empty()),
        ("from_context", !config.from_context.is_empty()),
        ("default_value", config.default_value.is_some()),
    ];
    let pattern = ("pattern", !config.pattern.is_empty());
    let converted_type = ("converted_type", config.converted_type.is_some());
    let key = config.key.clone().into_bytes();
    let is_named = !key.is_empty();
    match kind {
        ActionKind::Insert | ActionKind::Update | ActionKind::Upsert => {
            unused(&[pattern, converted_type]);
            let source = source(config, contexts, report)?;
            require_key(is_named, report)?;
            let how = match kind {
                ActionKind::Insert => How::Insert,
                ActionKind::Update => How::Update,
                _ => How::Upsert,
            };
            Some(Action::Set { how, key, source })
        }
        ActionKind::Delete | ActionKind::Hash => {
            unused(&values);
            unused(&[converted_type]);
            if !is_named && !pattern.1 {
                report("", "missing required field: \"key\" or \"pattern\"".to_owned());
                return None;
            }
            let pattern = match pattern.1 {
                true => Some(compiled(&config.pattern, report)?),
                false => None,
            };
            let keys = Keys { key, pattern };
            Some(if kind == ActionKind::Hash { Action::Hash(keys) } else { Action::Delete(keys) })
        }
        ActionKind::Extract => {
            unused(&values);
            unused(&[converted_type]);
            require_key(is_named, report)?;
            extract(key, config, report)
        }
        ActionKind::Convert => {
            unused(&values);
            unused(&[pattern]);
            require_key(is_named, report)?;
            let Some(to) = config.converted_type else {
                report("", "missing required field \"converted_type\"".to_owned());
                return None;
            };
            Some(Action::Convert { key, to })
        }
    }
}

fn require_key(is_named: bool, report: &mut dyn FnMut(&'static str, String)) -> Option<()> {
    if !is_named {
        report("", "missing required field \"key\"".to_owned());
    }
    is_named.then_some(())
}

fn compiled(pattern: &str, report: &mut dyn FnMut(&'static str, String)) -> Option<Regex> {
    match regex::compile(pattern) {
        Ok(pattern) => Some(pattern),
        Err(problem) => {
            report("pattern", problem);
            None
        }
    }
}

fn extract(
    key: Vec<u8>,
    config: &ActionConfig,
    report: &mut dyn FnMut(&'static str, String),
) -> Option<Action> {
    if config.pattern.is_empty() {
        report("", "missing required field \"pattern\"".to_owned());
        return None;
    }
    let pattern = compiled(&config.pattern, report)?;
    let groups: Vec<_> = pattern.capture_names().skip(1).collect();
    let mut names = Vec::new();
    for group in &groups {
        match group {
            Some(name) => names.push(name.as_bytes().to_vec()),
            None => {
                report("pattern", "contains at least one unnamed matcher group".to_owned());
                return None;
            }
        }
    }
    if names.is_empty() {
        report("pattern", "contains no named matcher groups".to_owned());
        return None;
    }
    Some(Action::Extract { key, pattern, names })
}

/// Where an action's value comes from.
fn source(
    config: &ActionConfig,
    contexts: &mut Vec<Context>,
    report: &mut dyn FnMut(&'static str, String),
) -> Option<Source> {
    let default = config.default_value.as_ref().map(|value| value.0.clone());
    let (attribute, context) = (&config.from_attribute, &config.from_context);
    let first = match (&config.value, attribute.as_str(), context.as_str()) {
        (Some(value), "", "") => First::Fixed(value.0.clone()),
        (None, attribute, "") if !attribute.is_empty() => {
            First::Attribute(attribute.as_bytes().to_vec())
        }
        (None, "", context) if !context.is_empty() => {
            let context = match read_context(context) {
                Ok(context) => context,
                Err(problem) => {
                    report("from_context", problem.to_string());
                    return None;
                }
            };
            let known = contexts.iter().position(|known| *known == context);
            First::Context(known.unwrap_or_else(|| {
                contexts.push(context);
                contexts.len() - 1
            }))
        }
        (None, "", "") if default.is_some() => First::Nothing,
        (None, "", "") => {
            let text = "one of \"value\", \"from_attribute\", \"from_context\" and \
                        \"default_value\" must be specified";
            report("", text.to_owned());
            return None;
        }
        _ => {
            let text = "only one of \"value\", \"from_attribute\" and \"from_context\" may be \
                        specified";
            report("", text.to_owned());
            return None;
        }
    };
    Some(Source { first, default })
}

/// What authenticators say of senders.
const OF_SENDERS: [&str; 2] = ["username", "raw"];

/// What receivers do not know of a request.
struct NotKnown<'c>(&'c str);

impl fmt::Display for NotKnown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(context) = self;
        write!(f, "\"{context}\" is not known here, only client.address, metadata.<header>, ")?;
        write!(f, "{}", OF_SENDERS.map(|name| format!("auth.{name}")).join(" and "))
    }
}

fn read_context(text: &str) -> Result<Context, NotKnown<'_>> {
    match (text.strip_prefix("metadata."), text.strip_prefix("auth.")) {
        _ if text == "client.address" => Ok(Context::Peer),
        (Some(header), _) => Ok(Context::Header(header.to_ascii_lowercase())),
        (None, Some(name)) => {
            let known = OF_SENDERS.into_iter().find(|known| *known == name);
            known.map(Context::Attribute).ok_or(NotKnown(text))
        }
        // Without a prefix it is a header, for those who wrote so before there were prefixes.
        (None, None) => Ok(Context::Header(text.to_ascii_lowercase())),
    }
}
