//! Watches the sources of the configuration.
//!
//! They are read as a whole every few seconds and compared by what they say, not by their times or
//! inodes: a mounted Kubernetes map, which is swapped by symbolic links, is seen like an edited
//! file, and so is a file that a placeholder names.

use std::fmt::Write as _;
use std::time::Duration;

use tracing::error;
use xxhash_rust::xxh3::xxh3_64;

use super::registry::Gate;
use crate::config::{Document, Node, Problems, Process, print};

/// How long the sources must say the same before that counts: editors write in several steps.
const SETTLE: Duration = Duration::from_millis(250);

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    /// Values of `--config`.
    pub(super) configs: Vec<String>,
    /// Values of `--set`.
    pub(super) sets: Vec<String>,
    /// Feature gates that set their keys.
    pub(super) gates: Vec<Gate>,
}

impl Sources {
    /// Reads them.
    ///
    /// # Errors
    /// All that cannot be read.
    pub(super) fn load(&self) -> Result<Document, Problems> {
        let mut document = Document::load(&self.configs, &self.sets, &Process)?;
        for gate in &self.gates {
            let section = gate.kind.section();
            for type_name in gate.type_names {
                document.set_default(section, type_name, gate.key, gate.value);
            }
        }
        Ok(document)
    }
}

/// See the module's head.
pub(super) struct Watch {
    sources: Sources,
    /// How often they are read; 0 is never.
    interval: Duration,
    /// Stands for what they said last.
    seen: u64,
}

impl Watch {
    /// Watches `sources`, which said `root`.
    pub(super) fn new(sources: Sources, interval: Duration, root: &Node) -> Self {
        Self { sources, interval, seen: fingerprint(root, None) }
    }

    /// Waits until the sources say something that they did not say before.
    pub(super) async fn changed(&mut self) -> Result<Document, Problems> {
        if self.interval.is_zero() {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep(self.interval).await;
            let Some(first) = self.read().await else { continue };
            let seen = fingerprint_of(&first);
            if seen == self.seen {
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            let Some(again) = self.read().await else { continue };
            if fingerprint_of(&again) == seen {
                self.seen = seen;
                return again;
            }
        }
    }

    /// What the sources say now.
    pub(super) async fn load(&mut self) -> Result<Document, Problems> {
        loop {
            if let Some(read) = self.read().await {
                self.seen = fingerprint_of(&read);
                return read;
            }
        }
    }

    /// Nothing when the reader broke down, which was logged.
    async fn read(&self) -> Option<Result<Document, Problems>> {
        let sources = self.sources.clone();
        match tokio::task::spawn_blocking(move || sources.load()).await {
            Ok(read) => Some(read),
            Err(error) => {
                error!(%error, "reading the configuration broke down");
                tokio::time::sleep(SETTLE).await;
                None
            }
        }
    }
}

fn fingerprint_of(read: &Result<Document, Problems>) -> u64 {
    match read {
        Ok(document) => fingerprint(&document.root, Some(&document.problems)),
        Err(problems) => fingerprint(&Node::new(crate::config::Data::Null), Some(problems)),
    }
}

fn fingerprint(root: &Node, problems: Option<&Problems>) -> u64 {
    let mut text = print::json(root);
    for problem in problems.into_iter().flat_map(Problems::errors) {
        writeln!(text, "{problem}").expect("a string takes any text");
    }
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    fn watch(directory: &Path) -> Watch {
        let config = directory.join("config.yaml").display().to_string();
        let sources = Sources { configs: vec![config], sets: Vec::new(), gates: Vec::new() };
        let root = Arc::clone(&sources.load().unwrap().root);
        Watch::new(sources, Duration::from_millis(5), &root)
    }

    fn value(read: &Result<Document, Problems>) -> String {
        match read {
            Ok(document) => print::json(&document.root).split_whitespace().collect(),
            Err(problems) => problems.errors()[0].to_string(),
        }
    }

    #[tokio::test]
    async fn a_change_is_told_once_also_when_it_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let write =
            |text: &str| std::fs::write(directory.path().join("config.yaml"), text).unwrap();
        write("a: {b: 1}");
        let mut watch = watch(directory.path());
        // Another text that says the same is no change; the next one is.
        write("a:\n  b: 1 # one");
        write("a: {b: 2}");
        assert_eq!(value(&watch.changed().await), "{\"a\":{\"b\":2}}");
        write("a: {b: ");
        assert!(watch.changed().await.is_err());
        write("a: {b: 2}");
        assert_eq!(value(&watch.changed().await), "{\"a\":{\"b\":2}}");
        let again = tokio::time::timeout(Duration::from_millis(600), watch.changed()).await;
        assert!(again.is_err(), "nothing changed");
    }

    #[tokio::test]
    async fn what_a_symbolic_link_points_to_is_watched() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in [("..1", "a: 1"), ("..2", "a: 2")] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join("config.yaml"), text).unwrap();
        }
        std::os::unix::fs::symlink("..1", path("..data")).unwrap();
        std::os::unix::fs::symlink("..data/config.yaml", path("config.yaml")).unwrap();
        let mut watch = watch(directory.path());
        std::os::unix::fs::symlink("..2", path("..new")).unwrap();
        std::fs::rename(path("..new"), path("..data")).unwrap();
        assert_eq!(value(&watch.changed().await), "{\"a\":2}");
    }
}
