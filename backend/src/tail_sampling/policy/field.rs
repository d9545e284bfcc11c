//! Fields: what rules and adaptive samplers ask of a span, by name.
//!
//! - `name`, `kind` (`server`, …), `status.code` (`ERROR`, …), `duration_ms`: of the span;
//! - any other name, as `http.route`: the span's attribute, or its resource's;
//! - `span.attributes["k"]`, `resource.attributes["k"]`, `any.attributes["k"]`: attributes of one
//!   place, also such as are named like the fields above;
//! - with `root.` before it (`root.name`, `root.attributes["k"]`): of spans without a parent alone.

use shared::wire::{AnyValue, Resource, StatusCode};

use super::{Builder, KeyId, Sight};

/// A field, as it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldName {
    /// Whether only roots have it.
    pub(super) of_root: bool,
    what: What<Box<str>>,
}

/// A field that can be looked up.
#[derive(Debug)]
pub(super) struct Field {
    /// Whether only roots have it.
    pub(super) of_root: bool,
    what: What<(KeyId, Box<[u8]>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What<K> {
    Name,
    Kind,
    StatusCode,
    DurationMs,
    /// An attribute of the span, or else of the resource.
    Any(K),
    /// An attribute of the span.
    Span(K),
    /// An attribute of the resource.
    Resource(K),
}

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

impl FieldName {
    /// Reads a field's name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (of_root, rest) = match text.strip_prefix("root.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if let Some((scope, key)) = selector(rest)? {
            let what = match (scope, of_root) {
                ("", true) | ("span", false) => What::Span(key.into()),
                ("resource", _) => What::Resource(key.into()),
                ("any", _) => What::Any(key.into()),
                _ => {
                    return Err(format!(
                        "\"{text}\" names no place; write span, resource, root or any before \
                         .attributes[\"{key}\"]"
                    ));
                }
            };
            return Ok(Self { of_root, what });
        }
        let what = match rest {
            "" => return Err("must not be empty".to_owned()),
            "name" => What::Name,
            "kind" => What::Kind,
            "status.code" => What::StatusCode,
            "duration_ms" => What::DurationMs,
            key => What::Any(key.into()),
        };
        Ok(Self { of_root, what })
    }

    /// The field, with the key it looks for known to the builder.
    pub(super) fn build(&self, builder: &mut Builder<'_>) -> Field {
        let mut key = |key: &str| (builder.key(key), key.as_bytes().into());
        let what = match &self.what {
            What::Name => What::Name,
            What::Kind => What::Kind,
            What::StatusCode => What::StatusCode,
            What::DurationMs => What::DurationMs,
            What::Any(name) => What::Any(key(name)),
            What::Span(name) => What::Span(key(name)),
            What::Resource(name) => What::Resource(key(name)),
        };
        Field { of_root: self.of_root, what }
    }
}

/// The parts of `scope.attributes["key"]`, or of `attributes["key"]`; nothing if it is a plain name.
fn selector(text: &str) -> Result<Option<(&str, &str)>, String> {
    let Some((before, behind)) = text.split_once("attributes[") else { return Ok(None) };
    let scope = match before {
        "" => "",
        before => match before.strip_suffix('.') {
            Some(scope) => scope,
            None => return Ok(None),
        },
    };
    let key = behind.strip_prefix('"').and_then(|rest| rest.strip_suffix("\"]"));
    match key {
        Some(key) if !key.is_empty() && !key.contains('"') => Ok(Some((scope, key))),
        _ => Err(format!("\"{text}\" must have the form any.attributes[\"key\"]")),
    }
}

impl Field {
    /// The field of a span, if it has it.
    pub(super) fn get<'a>(&self, sight: &Sight<'a>) -> Option<AnyValue<'a>> {
        if self.of_root && !sight.span.is_root() {
            return None;
        }
        self.of_span(sight).or_else(|| self.of_resource(sight.resource))
    }

    /// The field as far as it comes from the span itself; whether that is a root is not asked.
    pub(super) fn of_span<'a>(&self, sight: &Sight<'a>) -> Option<AnyValue<'a>> {
        let span = sight.span;
        match &self.what {
            What::Name => Some(AnyValue::String(span.name)),
            What::Kind => {
                let kind = usize::try_from(span.kind).ok().and_then(|kind| KINDS.get(kind));
                Some(AnyValue::String(kind.unwrap_or(&KINDS[0]).as_bytes()))
            }
            What::StatusCode => Some(AnyValue::String(match span.status_code() {
                StatusCode::Unset => b"UNSET",
                StatusCode::Ok => b"OK",
                StatusCode::Error => b"ERROR",
            })),
            #[allow(clippy::cast_precision_loss, reason = "2^53 ns are 104 days")]
            What::DurationMs => Some(AnyValue::Double(span.duration_ns() as f64 / 1e6)),
            What::Any((id, _)) | What::Span((id, _)) => sight.attribute(*id),
            What::Resource(_) => None,
        }
    }

    /// The field as far as it comes from a resource, whatever spans are under it.
    pub(super) fn of_resource<'a>(&self, resource: Resource<'a>) -> Option<AnyValue<'a>> {
        match &self.what {
            What::Any((_, key)) | What::Resource((_, key)) => resource.attribute(key),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, of_root: bool, what: &What<&str>) {
        let what = match what {
            What::Name => What::Name,
            What::Kind => What::Kind,
            What::StatusCode => What::StatusCode,
            What::DurationMs => What::DurationMs,
            What::Any(key) => What::Any((*key).into()),
            What::Span(key) => What::Span((*key).into()),
            What::Resource(key) => What::Resource((*key).into()),
        };
        assert_eq!(FieldName::parse(text), Ok(FieldName { of_root, what }), "{text}");
    }

    #[test]
    fn names_stand_for_fields_or_else_for_attributes() {
        check("name", false, &What::Name);
        check("kind", false, &What::Kind);
        check("root.status.code", true, &What::StatusCode);
        check("duration_ms", false, &What::DurationMs);
        check("http.route", false, &What::Any("http.route"));
        check("root.http.route", true, &What::Any("http.route"));
        check("attributes", false, &What::Any("attributes"));
    }

    #[test]
    fn a_place_may_be_named() {
        check("span.attributes[\"name\"]", false, &What::Span("name"));
        check("any.attributes[\"a b\"]", false, &What::Any("a b"));
        check("resource.attributes[\"k\"]", false, &What::Resource("k"));
        check("root.attributes[\"k\"]", true, &What::Span("k"));
        check("root.resource.attributes[\"k\"]", true, &What::Resource("k"));
    }

    #[test]
    fn what_is_no_field_is_explained() {
        let check = |text: &str, expected: &str| {
            let error = FieldName::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("", "must not be empty");
        check("root.", "must not be empty");
        check("attributes[\"k\"]", "write span, resource, root or any before .attributes[\"k\"]");
        check("scope.attributes[\"k\"]", "names no place");
        check("any.attributes[k]", "must have the form any.attributes[\"key\"]");
        check("any.attributes[\"\"]", "must have the form");
    }
}
