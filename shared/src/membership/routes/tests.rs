use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::*;

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
    out: AtomicBool,
    passed_over: AtomicUsize,
}

impl Member for Recorder {
    fn in_rotation(&self) -> bool {
        !self.out.load(Ordering::Relaxed)
    }

    fn passed_over(&self) {
        self.passed_over.fetch_add(1, Ordering::Relaxed);
    }
}

/// Every member that was made, with its endpoint.
type Made = Arc<Mutex<Vec<(String, Arc<Recorder>)>>>;

/// A table, the ways to tell it things, and every member that was made.
struct Fixture {
    table: RouteTable<Recorder>,
    tell: mpsc::Sender<&'static str>,
    rotation: watch::Sender<u64>,
    made: Made,
    /// How often an endpoint that contains `broken` fails before it can be made.
    failures: Arc<AtomicUsize>,
}

impl Fixture {
    fn new() -> Self {
        let (tell, told) = mpsc::channel(1);
        let (rotation, rotated) = watch::channel(0);
        let made = Made::default();
        let failures = Arc::new(AtomicUsize::new(1));
        let (log, broken) = (Arc::clone(&made), Arc::clone(&failures));
        let connect: Connect<Recorder> = Box::new(move |endpoint| {
            if endpoint.contains("broken") && broken.load(Ordering::Relaxed) > 0 {
                broken.fetch_sub(1, Ordering::Relaxed);
                return Err(BuildError::new("no certificate"));
            }
            let recorder = Arc::new(Recorder::default());
            log.lock().unwrap().push((endpoint.to_owned(), Arc::clone(&recorder)));
            Ok(recorder)
        });
        let following = Following {
            exporter: "lb".to_owned(),
            data_type: "traces",
            hash: RingHash::Xxh3,
            endpoints: Arc::new(Endpoints::follow(Box::new(Told(told)))),
            rotation: Some(rotated),
        };
        Self { table: RouteTable::start(following, connect), tell, rotation, made, failures }
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

    /// Takes the members with these numbers out of rotation, the others in.
    async fn out(&self, numbers: &[usize]) {
        for (number, (_, recorder)) in self.made.lock().unwrap().iter().enumerate() {
            recorder.out.store(numbers.contains(&number), Ordering::Relaxed);
        }
        self.rotation.send_modify(|changes| *changes += 1);
        // The ring of a detour is made on another thread.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
    }

    fn names(&self) -> Vec<String> {
        self.made.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn recorder(&self, index: usize) -> Arc<Recorder> {
        Arc::clone(&self.made.lock().unwrap()[index].1)
    }

    /// The owners of a thousand keys.
    fn owners(&self) -> Vec<usize> {
        let routes = self.table.current();
        (0..1000_u32).map(|key| routes.owner(&key.to_le_bytes()).unwrap()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stays_is_kept() {
    let fixture = Fixture::new();
    assert!(fixture.table.current().is_empty());
    fixture.tell("a b", "a b").await;
    let before = fixture.table.current();
    fixture.tell("b c", "b c").await;
    let after = fixture.table.current();
    assert!(Arc::ptr_eq(before.member(1), after.member(0)));
    assert_eq!(fixture.names(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_member_is_told_once_the_routes_are_without_it() {
    let fixture = Fixture::new();
    fixture.tell("a b", "a b").await;
    fixture.tell("b", "b").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let told = [0, 1].map(|number| fixture.recorder(number).passed_over.load(Ordering::Relaxed));
    assert_eq!(told, [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_be_made_is_off_the_ring_and_tried_again() {
    let fixture = Fixture::new();
    fixture.tell("a broken", "a").await;
    assert_eq!(fixture.failures.load(Ordering::Relaxed), 0);
    fixture.routes_are("a broken").await;
    assert_eq!(fixture.names(), ["a", "broken"]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_told_in_two_spellings_is_one_member() {
    let fixture = Fixture::new();
    fixture.tell("a a:4317", "a:4317").await;
    assert_eq!(fixture.table.current().owner(b"key"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn only_the_keys_of_a_member_out_of_rotation_move_and_come_back() {
    let fixture = Fixture::new();
    fixture.tell("a b c d", "a b c d").await;
    let home = fixture.owners();
    fixture.out(&[1]).await;
    let away = fixture.owners();
    for (home, away) in home.iter().zip(&away) {
        assert_eq!(home == away, *home != 1, "{home} to {away}");
    }
    let without = Ring::new(RingHash::Xxh3, ["a", "c", "d"].map(str::to_owned));
    for (key, away) in (0..1000_u32).zip(&away) {
        let owner = &without.endpoints()[without.owner(&key.to_le_bytes()).unwrap()];
        assert!(home[key as usize] != 1 || fixture.names()[*away] == *owner);
    }
    assert!(fixture.recorder(1).passed_over.load(Ordering::Relaxed) > 0);
    fixture.out(&[]).await;
    assert_eq!(fixture.owners(), home);
}

#[tokio::test(start_paused = true)]
async fn when_most_members_look_bad_none_is_passed_over() {
    let fixture = Fixture::new();
    fixture.tell("a b c d", "a b c d").await;
    let home = fixture.owners();
    fixture.out(&[0, 1, 2]).await;
    assert_eq!(fixture.owners(), home);
    fixture.out(&[0, 1]).await;
    assert!(fixture.owners().iter().all(|owner| *owner > 1));
}

#[tokio::test(start_paused = true)]
async fn one_resolver_serves_several_tables() {
    let fixture = Fixture::new();
    fixture.tell("a b", "a b").await;
    let (tell, told) = mpsc::channel(1);
    let endpoints = Arc::new(Endpoints::follow(Box::new(Told(told))));
    tell.send("a b c").await.unwrap();
    let tables = ["one", "two"].map(|exporter| {
        let following = Following {
            exporter: exporter.to_owned(),
            data_type: "logs",
            hash: RingHash::Xxh3,
            endpoints: Arc::clone(&endpoints),
            rotation: None,
        };
        RouteTable::start(following, Box::new(|_| Ok(Arc::new(Recorder::default()))))
    });
    for table in tables {
        let mut changed = table.changed();
        changed.wait_for(|changes| *changes > 0).await.unwrap();
        assert_eq!(table.current().ring().endpoints().len(), 3);
    }
}
