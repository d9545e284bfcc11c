//! What components of one process have in common: a connection, a resolver. Found by what it was
//! made from; gone when its last holder is.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Finds the value that another component has already made from an equal key.
#[derive(Debug, Default)]
pub struct Commons(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    key: Box<dyn Any + Send>,
    value: Weak<dyn Any + Send + Sync>,
}

impl Commons {
    /// The value of `key`; made if nobody holds one. `make` must not come back here.
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
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
