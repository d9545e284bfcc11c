//! What components of one process have in common: a connection, a resolver; the extensions that
//! authenticate; the metadata that is read; what operators are answered.
//!
//! What components make is found by what it was made from, and gone when its last holder is.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::factory::{BuildError, ComponentId};
use super::kept_traces::KeptTraces;
use crate::auth::{Authenticator, ClientAuth, ServerAuth};
use crate::metadata::Wanted;
use crate::telemetry::admin::Admin;

/// What components share.
#[derive(Default)]
pub struct Commons {
    made: Mutex<Vec<Entry>>,
    authenticators: Mutex<BTreeMap<ComponentId, Authenticator>>,
    wanted: Mutex<Wanted>,
    kept_traces: Arc<KeptTraces>,
    admin: Arc<Admin>,
}

impl fmt::Debug for Commons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commons").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Entry {
    key: Box<dyn Any + Send>,
    value: Weak<dyn Any + Send + Sync>,
}

impl Commons {
    /// Of components that answer operators by `admin`.
    pub fn new(admin: Arc<Admin>) -> Self {
        Self { admin, ..Self::default() }
    }

    /// Where a component says what it answers operators.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The traces that tail sampling kept lately.
    pub fn kept_traces(&self) -> &Arc<KeptTraces> {
        &self.kept_traces
    }

    /// The value that another component has already made from an equal key; made if nobody holds
    /// one. `make` must not come back here.
    ///
    /// # Errors
    /// That of `make`.
    pub fn get_or_make<K, T, E>(
        &self,
        key: &K,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E>
    where
        K: PartialEq + Clone + Send + 'static,
        T: Any + Send + Sync,
    {
        let mut entries = lock(&self.made);
        entries.retain(|entry| entry.value.strong_count() > 0);
        let equal = entries.iter().filter(|entry| entry.key.downcast_ref() == Some(key));
        let mut held = equal.filter_map(|entry| entry.value.upgrade());
        if let Some(value) = held.find_map(|value| value.downcast::<T>().ok()) {
            return Ok(value);
        }
        let value = Arc::new(make()?);
        let weak: Weak<T> = Arc::downgrade(&value);
        entries.push(Entry { key: Box::new(key.clone()), value: weak });
        Ok(value)
    }

    /// Adds an extension that authenticates.
    pub fn add_authenticator(&self, id: ComponentId, authenticator: Authenticator) {
        lock(&self.authenticators).insert(id, authenticator);
    }

    /// The extension `id`, to sign requests.
    ///
    /// # Errors
    /// When there is none, or it does not do that.
    pub fn client_auth(&self, id: &str) -> Result<Arc<dyn ClientAuth>, BuildError> {
        let client = self.authenticator(id)?.client;
        client.ok_or_else(|| BuildError::new(format!("extension \"{id}\" signs no requests")))
    }

    /// The extension `id`, to check requests.
    ///
    /// # Errors
    /// When there is none, or it does not do that.
    pub fn server_auth(&self, id: &str) -> Result<Arc<dyn ServerAuth>, BuildError> {
        let server = self.authenticator(id)?.server;
        server.ok_or_else(|| BuildError::new(format!("extension \"{id}\" checks no requests")))
    }

    fn authenticator(&self, id: &str) -> Result<Authenticator, BuildError> {
        let missing = || BuildError::new(format!("there is no authenticator \"{id}\""));
        let id = ComponentId::parse(id).map_err(|_| missing())?;
        lock(&self.authenticators).get(&id).cloned().ok_or_else(missing)
    }

    /// Says what metadata is read: to be called while components are built, since receivers look
    /// when they start.
    pub fn want(&self, add: impl FnOnce(&mut Wanted)) {
        add(&mut lock(&self.wanted));
    }

    /// The metadata that is read.
    pub fn wanted(&self) -> Wanted {
        lock(&self.wanted).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn get(commons: &Commons, key: &'static str, value: u32) -> Arc<u32> {
        commons.get_or_make(&key, || Ok::<_, Infallible>(value)).unwrap()
    }

    #[test]
    fn equal_keys_share_a_value_as_long_as_somebody_holds_it() {
        let commons = Commons::default();
        let first = get(&commons, "a", 1);
        assert!(Arc::ptr_eq(&first, &get(&commons, "a", 2)));
        assert_eq!(*get(&commons, "b", 3), 3);
        drop(first);
        assert_eq!(*get(&commons, "a", 4), 4);
    }

    #[test]
    fn values_of_other_types_are_others() {
        let commons = Commons::default();
        let _number = get(&commons, "a", 1);
        let text = commons.get_or_make(&"a", || Ok::<_, Infallible>("text")).unwrap();
        assert_eq!(*text, "text");
    }

    #[test]
    fn what_cannot_be_made_is_tried_again() {
        let commons = Commons::default();
        assert_eq!(commons.get_or_make(&"a", || Err::<u32, _>("no")), Err("no"));
        assert_eq!(*get(&commons, "a", 1), 1);
    }
}
