//! What `EndpointSlices` say: objects of the API, and the endpoints in all of them. Pure.
//!
//! A service has several slices, and an endpoint may be in two of them while it moves from one to
//! the other. So the endpoints are always those of all slices together; it does not matter in
//! which order a move is told.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use serde::Deserialize;
use serde_json::Value;

/// The most slices that are kept; with the usual 100 endpoints in each that is far more than a
/// ring may have.
pub(super) const MAX_SLICES: usize = 4096;

/// An answer to a list, or a page of it.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    pub(super) metadata: ListMetadata,
    /// Go writes a list without items as null.
    #[serde(default)]
    pub(super) items: Option<Vec<EndpointSlice>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    #[serde(default)]
    pub(super) resource_version: String,
    /// Asks for the next page; empty on the last one.
    #[serde(default)]
    pub(super) r#continue: String,
}

/// `discovery.k8s.io/v1`, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct EndpointSlice {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) endpoints: Option<Vec<SliceEndpoint>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) resource_version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct SliceEndpoint {
    #[serde(default)]
    addresses: Option<Vec<String>>,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    conditions: Option<Conditions>,
}

#[derive(Debug, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    terminating: Option<bool>,
}

impl SliceEndpoint {
    /// Whether it may get new keys. One that does not say whether it is ready is. One that is
    /// terminating is not, even if it still serves, or is said to be ready because the service
    /// publishes addresses that are not.
    fn is_target(&self) -> bool {
        let Some(conditions) = &self.conditions else { return true };
        conditions.ready != Some(false) && conditions.terminating != Some(true)
    }
}

/// What a watch tells.
#[derive(Debug)]
pub(super) enum Event {
    /// A slice is new, or another one than before.
    Put(EndpointSlice),
    /// A slice is gone.
    Delete(EndpointSlice),
    /// Nothing has changed up to this version.
    Bookmark { resource_version: String },
}

/// What a watch tells at its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EventError {
    /// Something that cannot be read.
    Unreadable(String),
    /// That it cannot go on.
    Told { code: u16, message: String },
}

impl Event {
    /// Reads one line of a watch.
    ///
    /// # Errors
    /// Why the watch is over.
    pub(super) fn parse(line: &[u8]) -> Result<Self, EventError> {
        #[derive(Deserialize)]
        struct Raw {
            r#type: String,
            object: Value,
        }
        let unreadable = |error: serde_json::Error| EventError::Unreadable(error.to_string());
        let Raw { r#type, object } = serde_json::from_slice(line).map_err(unreadable)?;
        let slice = |object| serde_json::from_value(object).map_err(unreadable);
        match r#type.as_str() {
            "ADDED" | "MODIFIED" => Ok(Self::Put(slice(object)?)),
            "DELETED" => Ok(Self::Delete(slice(object)?)),
            "BOOKMARK" => {
                let bookmark: EndpointSlice = slice(object)?;
                Ok(Self::Bookmark { resource_version: bookmark.metadata.resource_version })
            }
            "ERROR" => Err(EventError::Told {
                code: object["code"].as_u64().and_then(|code| code.try_into().ok()).unwrap_or(0),
                message: object["message"].as_str().unwrap_or_default().to_owned(),
            }),
            other => Err(EventError::Unreadable(format!("unknown event {other:?}"))),
        }
    }
}

/// How endpoints become backends.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    /// What stands behind a hostname, `.service.namespace`; addresses are taken if there is none.
    pub(super) behind_hostname: Option<String>,
    /// One backend for each of these.
    pub(super) ports: Vec<u16>,
}

impl Naming {
    /// As the Collector spells them: `host:port`, with brackets around IPv6; without a port the
    /// bare host.
    fn backends(&self, host: &str) -> Vec<String> {
        if self.ports.is_empty() {
            return vec![host.to_owned()];
        }
        let host = match host.parse::<Ipv6Addr>() {
            Ok(_) => format!("[{host}]"),
            Err(_) => host.to_owned(),
        };
        self.ports.iter().map(|port| format!("{host}:{port}")).collect()
    }
}

/// The backends in one slice.
#[derive(Debug, Default)]
struct Backends {
    found: BTreeSet<String>,
    /// Endpoints that could not be named.
    without_hostname: usize,
}

/// The slices of a service.
#[derive(Debug)]
pub(super) struct Slices {
    naming: Naming,
    slices: BTreeMap<String, Backends>,
}

impl Slices {
    pub(super) fn new(naming: Naming) -> Self {
        Self { naming, slices: BTreeMap::new() }
    }

    /// Forgets all slices, before a list.
    pub(super) fn clear(&mut self) {
        self.slices.clear();
    }

    /// Learns of a slice. How many backends were passed over since there are too many slices.
    pub(super) fn put(&mut self, slice: &EndpointSlice) -> usize {
        let mut backends = Backends::default();
        let targets = slice.endpoints.iter().flatten().filter(|endpoint| endpoint.is_target());
        for endpoint in targets {
            match (&self.naming.behind_hostname, endpoint.hostname.as_deref()) {
                (Some(_), None | Some("")) => backends.without_hostname += 1,
                (Some(behind), Some(hostname)) => {
                    backends.found.extend(self.naming.backends(&format!("{hostname}{behind}")));
                }
                (None, _) => {
                    for address in endpoint.addresses.iter().flatten() {
                        backends.found.extend(self.naming.backends(address));
                    }
                }
            }
        }
        let name = &slice.metadata.name;
        if self.slices.len() >= MAX_SLICES && !self.slices.contains_key(name) {
            return backends.found.len();
        }
        self.slices.insert(name.clone(), backends);
        0
    }

    /// Forgets a slice.
    pub(super) fn delete(&mut self, slice: &EndpointSlice) {
        self.slices.remove(&slice.metadata.name);
    }

    /// The backends of all slices.
    pub(super) fn backends(&self) -> BTreeSet<String> {
        self.slices.values().flat_map(|slice| &slice.found).cloned().collect()
    }

    /// Whether no slice has a backend.
    pub(super) fn is_empty(&self) -> bool {
        self.slices.values().all(|slice| slice.found.is_empty())
    }

    /// Endpoints that lack the hostname that they are to be named by.
    pub(super) fn without_hostname(&self) -> usize {
        self.slices.values().map(|slice| slice.without_hostname).sum()
    }
}
