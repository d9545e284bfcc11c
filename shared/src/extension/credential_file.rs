//! Credentials in a file that changes: read again at most once a second, when they are wanted.
//!
//! By content, not by events, so that it does not matter how the file is replaced: in place, by a
//! rename, or by the link that the kubelet turns to another directory.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::clock;
use crate::service::BuildError;
use crate::telemetry::thin::Thin;

/// The shortest time between two looks at the file.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a file says, as `C`.
pub(super) struct CredentialFile<C> {
    path: String,
    read: fn(&str) -> Result<C, String>,
    last: Mutex<Last<C>>,
    failed: Thin,
}

struct Last<C> {
    looked: Instant,
    text: String,
    credentials: Arc<C>,
}

impl<C> CredentialFile<C> {
    /// # Errors
    /// When the file cannot be read now.
    pub(super) fn open(
        path: &str,
        read: fn(&str) -> Result<C, String>,
    ) -> Result<Self, BuildError> {
        let of = |error: String| BuildError::new(format!("credentials in {path:?}: {error}"));
        let text = std::fs::read_to_string(path).map_err(|error| of(error.to_string()))?;
        let credentials = Arc::new(read(&text).map_err(of)?);
        let last = Mutex::new(Last { looked: clock::now(), text, credentials });
        Ok(Self { path: path.to_owned(), read, last, failed: Thin::new() })
    }

    /// What the file says; what it last said, if it cannot be read any more.
    pub(super) fn current(&self) -> Arc<C> {
        let now = clock::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(last.looked) >= INTERVAL {
            last.looked = now;
            match self.changed(&last.text) {
                Ok(None) => {}
                Ok(Some((text, credentials))) => {
                    info!(file = self.path, "credentials have changed");
                    last.text = text;
                    last.credentials = Arc::new(credentials);
                }
                Err(error) => {
                    if let Some(suppressed) = self.failed.pass(now) {
                        warn!(file = self.path, %error, suppressed,
                            "cannot read credentials again, keeping what was read");
                    }
                }
            }
        }
        Arc::clone(&last.credentials)
    }

    fn changed(&self, before: &str) -> Result<Option<(String, C)>, String> {
        let text = std::fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        if text == before {
            return Ok(None);
        }
        let credentials = (self.read)(&text)?;
        Ok(Some((text, credentials)))
    }
}

impl<C> fmt::Debug for CredentialFile<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialFile({:?})", self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(text: &str) -> Result<String, String> {
        match text {
            "" => Err("empty".to_owned()),
            text => Ok(text.to_owned()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_however_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        // As the kubelet does it: token → ..data/token, and ..data is turned.
        for version in ["1", "2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("token"), version).unwrap();
        }
        symlink(at("1"), at("..data")).unwrap();
        symlink(at("..data").join("token"), at("token")).unwrap();
        let file = CredentialFile::open(at("token").to_str().unwrap(), text).unwrap();
        let turn = |version: &str| {
            symlink(at(version), at("..new")).unwrap();
            std::fs::rename(at("..new"), at("..data")).unwrap();
        };
        turn("2");
        assert_eq!(*file.current(), "1", "not looked at yet");
        tokio::time::advance(INTERVAL).await;
        assert_eq!(*file.current(), "2");
        std::fs::write(at("2").join("token"), "3").unwrap();
        tokio::time::advance(INTERVAL).await;
        assert_eq!(*file.current(), "3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_has_become_unusable_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "good").unwrap();
        let credentials = CredentialFile::open(file.path().to_str().unwrap(), text).unwrap();
        std::fs::write(file.path(), "").unwrap();
        tokio::time::advance(INTERVAL).await;
        assert_eq!(*credentials.current(), "good");
        file.close().unwrap();
        tokio::time::advance(INTERVAL).await;
        assert_eq!(*credentials.current(), "good");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = CredentialFile::open("/no/such/file", text).unwrap_err().to_string();
        assert!(error.starts_with("credentials in \"/no/such/file\": No such file"), "{error}");
    }
}
