//! What a request said besides its batch, as far as somebody in this process will ask.
//!
//! Components that read metadata say when they are built which they want; receivers, which start
//! last, keep only that. So batches of different senders stay alike unless the difference counts,
//! and without a reader nothing is kept at all.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Uri};

/// Headers of a request, what its authenticator found out about the sender, and its address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metadata {
    /// By lower-case name, in the order of names; all values of each.
    headers: Vec<(Arc<str>, Vec<HeaderValue>)>,
    attributes: Vec<(Arc<str>, Arc<str>)>,
    peer: Option<IpAddr>,
}

/// What an authenticator found out about a sender: `username`.
pub type Attributes = Vec<(&'static str, Arc<str>)>;

/// What is kept of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    headers: BTreeSet<Arc<str>>,
    attributes: BTreeSet<Arc<str>>,
    peer: bool,
}

impl Metadata {
    /// The values of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> &[HeaderValue] {
        let found = self.headers.iter().find(|(known, _)| **known == *name);
        found.map(|(_, values)| &values[..]).unwrap_or_default()
    }

    /// What is known of the sender under this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// The address that the connection came from; that of a proxy or load balancer in between, if
    /// there is one.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Only these headers; `None` when there is none of them.
    pub fn only(&self, names: &[Arc<str>]) -> Option<Arc<Self>> {
        let headers = self.headers.iter().filter(|(name, _)| names.contains(name));
        let headers = headers.cloned().collect();
        Self { headers, attributes: Vec::new(), peer: None }.unless_empty()
    }

    fn unless_empty(self) -> Option<Arc<Self>> {
        let is_empty = self.headers.is_empty() && self.attributes.is_empty() && self.peer.is_none();
        (!is_empty).then(|| Arc::new(self))
    }
}

/// Values may be secret.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.headers.iter().map(|(name, _)| name);
        f.debug_set().entries(headers.chain(self.attributes.iter().map(|(name, _)| name))).finish()
    }
}

impl Wanted {
    /// Keeps the header `name` from now on.
    pub fn header(&mut self, name: &str) {
        self.headers.insert(name.to_ascii_lowercase().into());
    }

    /// Keeps what an authenticator says under `name`.
    pub fn attribute(&mut self, name: &str) {
        self.attributes.insert(name.into());
    }

    /// Keeps the address of the sender's end of the connection.
    pub fn peer(&mut self) {
        self.peer = true;
    }

    /// Keeps no header after all.
    pub fn no_headers(&mut self) {
        self.headers.clear();
    }

    /// What is kept of a request from this sender at `peer`; `host` and `:authority` are where it
    /// was sent to, in every version of HTTP.
    pub fn of(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        sender: &Attributes,
        peer: Option<IpAddr>,
    ) -> Option<Arc<Metadata>> {
        let values = |name: &Arc<str>| {
            let values: Vec<_> = match &**name {
                "host" | ":authority" => host(uri, headers).into_iter().collect(),
                name => headers.get_all(name).iter().cloned().collect(),
            };
            (!values.is_empty()).then(|| (Arc::clone(name), values))
        };
        let attributes = self.attributes.iter().filter_map(|wanted| {
            let (_, value) = sender.iter().find(|(name, _)| **name == **wanted)?;
            Some((Arc::clone(wanted), Arc::clone(value)))
        });
        let headers = self.headers.iter().filter_map(values).collect();
        let peer = peer.filter(|_| self.peer);
        Metadata { headers, attributes: attributes.collect(), peer }.unless_empty()
    }
}

fn host(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let authority = uri.authority().and_then(|of| HeaderValue::from_str(of.as_str()).ok());
    authority.or_else(|| headers.get(http::header::HOST).cloned())
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// The metadata of a request whose header `x-tenant` has this value.
    pub(crate) fn tenant(value: &'static str) -> Option<Arc<Metadata>> {
        let mut wanted = Wanted::default();
        wanted.header("x-tenant");
        let headers = [("x-tenant".parse().ok()?, value.parse().ok()?)];
        wanted.of(&Uri::default(), &headers.into_iter().collect(), &Attributes::new(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(headers: &[&str], attributes: &[&str]) -> Wanted {
        let mut wanted = Wanted::default();
        for name in headers {
            wanted.header(name);
        }
        for name in attributes {
            wanted.attribute(name);
        }
        wanted
    }

    fn of(wanted: &Wanted, headers: &[(&'static str, &'static str)]) -> Option<Arc<Metadata>> {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        let sender = vec![("username", "ann".into())];
        let peer = Some(IpAddr::from([192, 0, 2, 7]));
        wanted.of(&Uri::from_static("http://edge:4317/v1"), &headers.collect(), &sender, peer)
    }

    #[test]
    fn only_what_is_wanted_is_kept() {
        let tenant = wanted(&["X-Tenant"], &[]);
        let kept = of(&tenant, &[("x-tenant", "a"), ("x-tenant", "b"), ("x-other", "c")]).unwrap();
        assert_eq!(kept.header("x-tenant"), ["a", "b"]);
        assert!(kept.header("x-other").is_empty());
        assert_eq!(kept.attribute("username"), None);
        assert_eq!(kept, of(&tenant, &[("x-tenant", "a"), ("x-tenant", "b")]).unwrap());
        assert_eq!(of(&tenant, &[("x-other", "c")]), None);
        assert_eq!(of(&Wanted::default(), &[("x-tenant", "a")]), None);
    }

    #[test]
    fn an_empty_value_is_not_a_missing_one() {
        let tenant = wanted(&["x-tenant"], &[]);
        assert!(of(&tenant, &[("x-tenant", "")]).is_some());
    }

    #[test]
    fn the_host_and_the_sender_are_known() {
        let kept = of(&wanted(&["host"], &["username", "raw"]), &[("host", "other")]).unwrap();
        assert_eq!(kept.header("host"), ["edge:4317"]);
        assert_eq!((kept.attribute("username"), kept.attribute("raw")), (Some("ann"), None));
    }

    #[test]
    fn the_address_is_kept_if_somebody_asks_and_does_not_tell_partitions_apart() {
        let mut with_peer = wanted(&["a"], &[]);
        assert_eq!(of(&with_peer, &[("a", "1")]).unwrap().peer(), None);
        with_peer.peer();
        let kept = of(&with_peer, &[("a", "1")]).unwrap();
        assert_eq!(kept.peer(), Some(IpAddr::from([192, 0, 2, 7])));
        assert_eq!(kept.only(&["a".into()]).unwrap().peer(), None);
        assert!(of(&with_peer, &[]).is_some());
    }

    #[test]
    fn no_value_is_shown() {
        let kept = of(&wanted(&["x-token"], &["username"]), &[("x-token", "secret")]).unwrap();
        assert_eq!(format!("{kept:?}"), r#"{"x-token", "username"}"#);
    }

    #[test]
    fn a_partition_has_its_own_headers_only() {
        let kept = of(&wanted(&["a", "b"], &["username"]), &[("a", "1"), ("b", "2")]).unwrap();
        let only = kept.only(&["b".into(), "c".into()]).unwrap();
        assert_eq!(only, of(&wanted(&["b"], &[]), &[("b", "2")]).unwrap());
        assert_eq!(kept.only(&["c".into()]), None);
    }
}
