use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::wire::Signal;

/// Tells what a test sends it.
struct Told(mpsc::Receiver<&'static str>);

#[async_trait]
impl Resolver for Told {
    async fn changed(&mut self) -> Vec<String> {
        match self.0.recv().await {
            Some(endpoints) => endpoints.split(' ').map(str::to_owned).collect(),
            None => std::future::pending().await,
        }
    }
}

#[derive(Default)]
struct Recorder {
    left: AtomicBool,
    stopped: AtomicBool,
}

#[async_trait]
impl Backend for Recorder {
    async fn send(&self, _: Batch) -> Result<Delivered, Rejected> {
        Ok(Delivered::default())
    }

    async fn leave(&self, _: Instant) {
        self.left.store(true, Ordering::Relaxed);
    }

    async fn shutdown(&self, _: Instant) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Every backend that was made, with its endpoint.
type Made = Arc<Mutex<Vec<(String, Arc<Recorder>)>>>;

/// A table, the way to tell it endpoints, and every backend that was made.
struct Fixture {
    table: RouteTable,
    tell: mpsc::Sender<&'static str>,
    made: Made,
    /// How often an endpoint that contains `broken` fails before it can be made.
    failures: Arc<AtomicUsize>,
}

impl Fixture {
    fn new() -> Self {
        let (tell, told) = mpsc::channel(1);
        let made = Made::default();
        let failures = Arc::new(AtomicUsize::new(1));
        let (log, broken) = (Arc::clone(&made), Arc::clone(&failures));
        let connect: Connect = Box::new(move |endpoint| {
            if endpoint.contains("broken") && broken.load(Ordering::Relaxed) > 0 {
                broken.fetch_sub(1, Ordering::Relaxed);
                return Err(BuildError::new("no certificate"));
            }
            let recorder = Arc::new(Recorder::default());
            log.lock().unwrap().push((endpoint.to_owned(), Arc::clone(&recorder)));
            Ok(recorder)
        });
        let table = RouteTable::start("lb", RingHash::Xxh3, Box::new(Told(told)), connect);
        Self { table, tell, made, failures }
    }

    /// Tells endpoints and waits until the routes have `expected`.
    async fn tell(&self, endpoints: &'static str, expected: &str) {
        self.tell.send(endpoints).await.unwrap();
        self.routes_are(expected).await;
    }

    async fn routes_are(&self, expected: &str) {
        let expected: Vec<_> = expected.split(' ').collect();
        while self.table.current().ring().endpoints() != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn names(&self) -> Vec<String> {
        self.made.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn recorder(&self, index: usize) -> Arc<Recorder> {
        Arc::clone(&self.made.lock().unwrap()[index].1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_stays_is_kept() {
    let fixture = Fixture::new();
    assert!(fixture.table.current().is_empty());
    fixture.tell("a b", "a b").await;
    let before = fixture.table.current();
    fixture.tell("b c", "b c").await;
    let after = fixture.table.current();
    assert!(Arc::ptr_eq(before.backend(1), after.backend(0)));
    assert_eq!(fixture.names(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_backend_leaves_when_nobody_holds_the_old_routes() {
    let fixture = Fixture::new();
    fixture.tell("a b", "a b").await;
    let held = fixture.table.current();
    fixture.tell("b", "b").await;
    let removed = fixture.recorder(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!removed.left.load(Ordering::Relaxed));
    assert!(held.backend(0).send(Batch::empty(Signal::Traces)).await.is_ok());
    drop(held);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(removed.left.load(Ordering::Relaxed));
    assert!(!fixture.recorder(1).left.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn routes_that_are_held_for_too_long_do_not_keep_a_removed_backend() {
    let fixture = Fixture::new();
    fixture.tell("a b", "a b").await;
    let _held = fixture.table.current();
    fixture.tell("b", "b").await;
    tokio::time::sleep(LEAVE_TIME + Duration::from_secs(1)).await;
    assert!(fixture.recorder(0).left.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_cannot_be_made_is_off_the_ring_and_tried_again() {
    let fixture = Fixture::new();
    fixture.tell("a broken", "a").await;
    assert_eq!(fixture.failures.load(Ordering::Relaxed), 0);
    fixture.routes_are("a broken").await;
    assert_eq!(fixture.names(), ["a", "broken"]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_told_in_two_spellings_is_one() {
    let fixture = Fixture::new();
    fixture.tell("a a:4317", "a:4317").await;
    assert_eq!(fixture.table.current().ring().owner(b"key"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_every_backend_once() {
    let fixture = Fixture::new();
    fixture.tell("a b", "a b").await;
    fixture.table.shutdown(clock::now() + Duration::from_secs(5)).await;
    for index in 0..2 {
        let recorder = fixture.recorder(index);
        assert!(recorder.stopped.load(Ordering::Relaxed));
        assert!(!recorder.left.load(Ordering::Relaxed));
    }
    fixture.table.shutdown(clock::now()).await;
}
