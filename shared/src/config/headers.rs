//! Header settings: a map of names to values, or a list of `{name, value}`.

use http::{HeaderName, HeaderValue};

use super::decode::{Decode, expected};
use super::node::{Data, Node};
use super::problems::{Path, Problems};

/// Headers, in the order they were written. Values are secret: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// The headers.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// The value of the header `name`.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn read(&mut self, name: &str, value: &Node, at: &Path<'_>, problems: &mut Problems) {
        let Some(text) = String::decode(value, at, problems) else { return };
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return problems.report(at, format!("{name:?} is not a header name"));
        };
        match HeaderValue::from_str(&text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.0.push((name, value));
            }
            Err(_) => problems.report(at, "a header value holds visible ASCII characters only"),
        }
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Decode for Headers {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let before = problems.errors().len();
        let mut headers = Headers::default();
        match &node.data {
            Data::Map(entries) => {
                for entry in entries {
                    headers.read(&entry.key, &entry.value, &at.key(&entry.key), problems);
                }
            }
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let at = at.index(index);
                    match (item.get("name"), item.get("value")) {
                        (Some(Node { data: Data::String(name), .. }), Some(value)) => {
                            headers.read(name, value, &at.key("value"), problems);
                        }
                        _ => problems.report(&at, "expected a map with `name` and `value`"),
                    }
                }
            }
            _ => return expected("a map, or a list of name and value", node, at, problems),
        }
        (problems.errors().len() == before).then_some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Entry;

    fn entry(key: &str, text: &str) -> Entry {
        let value = Node::new(Data::String(text.to_owned()));
        Entry { key: key.to_owned(), place: crate::config::Place::default(), value }
    }

    fn decode(data: Data) -> Result<Headers, Vec<String>> {
        let mut problems = Problems::default();
        Headers::decode(&Node::new(data), &Path::ROOT.key("headers"), &mut problems)
            .ok_or_else(|| problems.errors().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_map_and_a_list_mean_the_same() {
        let map = decode(Data::Map(vec![entry("X-Tenant", "a")])).unwrap();
        let item = Node::new(Data::Map(vec![entry("name", "x-tenant"), entry("value", "a")]));
        assert_eq!(decode(Data::List(vec![item])).unwrap(), map);
        assert_eq!(map.get(&HeaderName::from_static("x-tenant")).unwrap(), "a");
    }

    #[test]
    fn every_bad_header_is_named_and_no_value_is_shown() {
        let problems =
            decode(Data::Map(vec![entry("a b", "1"), entry("x-token", "s\nt")])).unwrap_err();
        assert_eq!(problems[0], "headers::a b: \"a b\" is not a header name");
        assert!(problems[1].starts_with("headers::x-token: a header value"), "{problems:?}");
        let headers = decode(Data::Map(vec![entry("x-token", "secret")])).unwrap();
        assert_eq!(format!("{headers:?}"), "[\"x-token\"]");
    }
}
