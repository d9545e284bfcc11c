//! A registry of a test's own.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Registry;
use crate::clock;
use crate::telemetry::page;

thread_local! {
    static CURRENT: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// A registry apart from the process's, for tests that look at the series of what they made, as a
/// local recorder is for those of the `metrics` crate.
///
/// ```
/// # shared::metric_set! {
/// #     /// What is counted of a guest.
/// #     pub struct GuestMetrics expiring ["name"];
/// #     /// Number of glasses drunk.
/// #     glasses: Counter = "guest_glasses", "{glass}";
/// # }
/// let local = shared::telemetry::expiring::Local::default();
/// let _entered = local.enter();
/// let metrics = GuestMetrics::new(&[("name", "Ann")]);
/// metrics.glasses.increment(1);
/// assert!(local.render().contains("guest_glasses{name=\"Ann\"} 1\n"));
/// ```
#[derive(Debug, Clone)]
pub struct Local(Arc<Mutex<Registry>>);

impl Default for Local {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Registry::new())))
    }
}

impl Local {
    /// Sets that this thread makes are shown here, until the guard is dropped.
    #[must_use = "it ends when the guard is dropped"]
    pub fn enter(&self) -> Entered {
        let before = CURRENT.replace(Some(self.clone()));
        Entered { before, _stays_on_its_thread: PhantomData }
    }

    /// The families as the page shows them, under their plain names.
    pub fn render(&self) -> String {
        page::plain(&self.lock().snapshot(clock::now()).families)
    }

    /// The registry that this thread has entered.
    pub(super) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, the thread is in a [`Local`].
#[derive(Debug)]
pub struct Entered {
    before: Option<Local>,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}
