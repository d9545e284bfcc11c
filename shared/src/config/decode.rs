//! Turns nodes into typed settings, and reports everything that does not fit.
//!
//! [`config_struct!`](crate::config_struct) declares a section: its keys, their defaults and their
//! docs in one place.
//! Unknown keys are errors; a null keeps the default.

use super::node::{Data, Node};
use super::problems::{Path, Problems, nearest};

/// A type that a configuration value can become.
pub trait Decode: Sized {
    /// Reads `node`. `None` when something was wrong; then it was reported.
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self>;

    /// Reads `node` as far as it goes: what is wrong was reported, and is as if it were not there.
    /// `None` when nothing is left.
    fn decode_partly(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        Self::decode(node, at, problems)
    }

    /// What a null sets; by default nothing, which keeps what is there.
    fn from_null(_node: &Node) -> Option<Self> {
        None
    }
}

/// A section of the configuration: a struct made by [`config_struct!`](crate::config_struct).
pub trait Fields: Default {
    /// Sets the field named `key`; `false` when there is none.
    fn set(&mut self, key: &str, node: &Node, at: &Path<'_>, problems: &mut Problems) -> bool;

    /// Adds the names of all fields.
    fn keys(keys: &mut Vec<&'static str>);

    /// Reads a mapping into a section that holds its defaults. `None` when something was wrong.
    fn decode_fields(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let before = problems.errors().len();
        let section = Self::decode_what_fits(node, at, problems);
        (problems.errors().len() == before).then_some(section)
    }

    /// Reads a mapping into a section; what is wrong was reported and keeps its default.
    fn decode_what_fits(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Self {
        let mut section = Self::default();
        match &node.data {
            Data::Null => {}
            Data::Map(entries) => {
                for entry in entries {
                    let at = at.key(&entry.key);
                    // A null keeps the default; optional sections decide for themselves.
                    if !section.set(&entry.key, &entry.value, &at, problems) {
                        report_unknown_key::<Self>(&entry.key, &at, problems);
                    }
                }
            }
            _ => {
                let _: Option<()> = expected("a map", node, at, problems);
            }
        }
        section
    }
}

fn report_unknown_key<S: Fields>(key: &str, at: &Path<'_>, problems: &mut Problems) {
    let mut keys = Vec::new();
    S::keys(&mut keys);
    let hint = match nearest(key, keys.iter().copied()) {
        Some(near) => format!(", did you mean \"{near}\"?"),
        None => format!(" (valid keys: {})", keys.join(", ")),
    };
    problems.report(at, format!("unknown key{hint}"));
}

/// Reports that `node` is of the wrong kind.
pub fn expected<T>(what: &str, node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<T> {
    let found = match (&node.data, &node.text) {
        (Data::List(_) | Data::Map(_), _) => node.kind().to_owned(),
        (Data::String(text), _) | (_, Some(text)) => format!("{} \"{text}\"", node.kind()),
        (_, None) => node.kind().to_owned(),
    };
    problems.report(at, format!("expected {what}, got {found}"));
    None
}

/// Declares a section of the configuration.
///
/// ```
/// # use std::time::Duration;
/// shared::config_struct! {
///     /// How to wait.
///     pub struct WaitConfig {
///         /// How long to wait at first.
///         pub initial_interval: Duration = Duration::from_secs(5),
///         /// Whether to wait at all.
///         pub enabled: bool = true,
///     }
/// }
/// ```
///
/// Sections whose keys stand at the same level follow in a block of their own, behind the struct:
/// `flatten { /// The client. pub client: GrpcClientConfig = GrpcClientConfig::default(), }`.
#[macro_export]
macro_rules! config_struct {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $type:ty = $default:expr, )*
        }
        $(flatten {
            $( $(#[$flat_meta:meta])* pub $flat:ident : $flat_type:ty = $flat_default:expr, )*
        })?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
            $($( $(#[$flat_meta])* pub $flat: $flat_type, )*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* $($( $flat: $flat_default, )*)? }
            }
        }

        impl $crate::config::Fields for $name {
            #[allow(unused_variables, reason = "a section may have no keys")]
            fn set(
                &mut self,
                key: &str,
                node: &$crate::config::Node,
                at: &$crate::config::Path<'_>,
                problems: &mut $crate::config::Problems,
            ) -> bool {
                $(
                    if key == $crate::config::key_name(stringify!($field)) {
                        if let Some(value) =
                            <$type as $crate::config::DecodeField>::decode_field(node, &self.$field, at, problems)
                        {
                            self.$field = value;
                        }
                        return true;
                    }
                )*
                $($(
                    if $crate::config::Fields::set(&mut self.$flat, key, node, at, problems) {
                        return true;
                    }
                )*)?
                false
            }

            #[allow(unused_variables, reason = "a section may have no keys")]
            fn keys(keys: &mut Vec<&'static str>) {
                $( keys.push($crate::config::key_name(stringify!($field))); )*
                $($( <$flat_type as $crate::config::Fields>::keys(keys); )*)?
            }
        }

        impl $crate::config::Decode for $name {
            fn decode(
                node: &$crate::config::Node,
                at: &$crate::config::Path<'_>,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                <Self as $crate::config::Fields>::decode_fields(node, at, problems)
            }

            fn decode_partly(
                node: &$crate::config::Node,
                at: &$crate::config::Path<'_>,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                Some(<Self as $crate::config::Fields>::decode_what_fits(node, at, problems))
            }
        }
    };
}

/// Declares an enum whose values are written as words.
///
/// ```
/// shared::config_enum! {
///     /// What a queue counts.
///     pub enum Sizer {
///         /// Requests.
///         Requests = "requests",
///         /// Bytes.
///         Bytes = "bytes",
///     }
/// }
/// ```
#[macro_export]
macro_rules! config_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal $(| $alias:literal)*, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $( $(#[$variant_meta])* $variant, )+ }

        impl $name {
            /// The word for this value.
            #[allow(dead_code, reason = "not every enum is written back")]
            $vis const fn name(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl $crate::config::Decode for $name {
            fn decode(
                node: &$crate::config::Node,
                at: &$crate::config::Path<'_>,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                let words = [$( $word ),+];
                let text = match &node.data {
                    $crate::config::Data::String(text) => text.as_str(),
                    _ => node.text.as_deref().unwrap_or_default(),
                };
                match text {
                    $( $word $(| $alias)* => Some(Self::$variant), )+
                    _ => $crate::config::expected(
                        &format!("one of {}", words.join(", ")), node, at, problems,
                    ),
                }
            }
        }
    };
}

/// The key that a field stands for: `r#type` is `type`.
pub fn key_name(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// How a field of a section is read: by default, a null keeps what it is.
pub trait DecodeField: Sized {
    /// Reads `node` into a field that now holds `current`.
    fn decode_field(
        node: &Node,
        current: &Self,
        at: &Path<'_>,
        problems: &mut Problems,
    ) -> Option<Self>;
}

impl<T: Decode> DecodeField for T {
    fn decode_field(
        node: &Node,
        _current: &Self,
        at: &Path<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        match node.data {
            Data::Null => T::from_null(node),
            _ => T::decode(node, at, problems),
        }
    }
}

/// A section that may be absent.
///
/// Three states, as the Collector's `configoptional` has them: [`Section::none`] stays off when
/// its key has no value and turns on with `key: {}`; [`Section::off`] turns on by the mere
/// presence of its key; [`Section::on`] is on. `enabled: false` inside turns each off.
/// Source: collector config/configoptional.
#[derive(Debug, Clone, PartialEq)]
pub struct Section<T> {
    value: Option<T>,
    null_turns_on: bool,
}

impl<T> Section<T> {
    /// Off; a key without a value keeps it off.
    pub fn none() -> Self {
        Self { value: None, null_turns_on: false }
    }

    /// Off; the key's presence turns it on.
    pub fn off() -> Self {
        Self { value: None, null_turns_on: true }
    }

    /// On.
    pub fn on(value: T) -> Self {
        Self { value: Some(value), null_turns_on: true }
    }

    /// The section, if it is on.
    pub fn as_ref(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.value.is_some()
    }
}

impl<T: Fields> DecodeField for Section<T> {
    fn decode_field(
        node: &Node,
        current: &Self,
        at: &Path<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let null_turns_on = current.null_turns_on;
        let of = |value| Some(Section { value, null_turns_on });
        match &node.data {
            Data::Null if null_turns_on => of(Some(T::default())),
            Data::Null => None,
            Data::Map(entries) => {
                let mut keys = Vec::new();
                T::keys(&mut keys);
                let mut node = node.clone();
                if !keys.contains(&"enabled")
                    && let Some(enabled) = entries.iter().find(|entry| entry.key == "enabled")
                {
                    let at = at.key("enabled");
                    if !bool::decode(&enabled.value, &at, problems)? {
                        return of(None);
                    }
                    if let Data::Map(entries) = &mut node.data {
                        entries.retain(|entry| entry.key != "enabled");
                    }
                }
                of(Some(T::decode_fields(&node, at, problems)?))
            }
            _ => expected("a map", node, at, problems),
        }
    }
}

/// A key that the Collector has and this component does not: an error by its presence, since to
/// pass over it would change what the configuration means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotSupported;

impl Decode for NotSupported {
    fn decode(_: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        problems.report(at, "not supported yet");
        None
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
