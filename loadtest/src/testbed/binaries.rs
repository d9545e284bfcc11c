//! Finds the binaries of both tiers, and builds them when they are missing or older than their
//! sources.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use super::TestbedError;

/// Where both tiers' binaries are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The stateless tier.
    pub edge: PathBuf,
    /// The stateful tier.
    pub backend: PathBuf,
}

impl Binaries {
    /// The binaries of the profile that this process was built with, built if need be.
    ///
    /// `building` is called before cargo is.
    ///
    /// # Errors
    /// When cargo fails, or is needed and not there.
    pub async fn ensure(building: impl FnOnce()) -> Result<Self, TestbedError> {
        let directory = profile_directory()?;
        let binaries = Self { edge: directory.join("edge"), backend: directory.join("backend") };
        if [&binaries.edge, &binaries.backend].iter().all(|binary| is_fresh(binary, workspace())) {
            return Ok(binaries);
        }
        building();
        build(&directory).await?;
        for binary in [&binaries.edge, &binaries.backend] {
            if !binary.is_file() {
                let message = format!("cargo built no {}", binary.display());
                return Err(TestbedError::new(message));
            }
        }
        Ok(binaries)
    }
}

/// The root of the workspace that this was built from.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// `target/debug` or `target/release`: where this executable is, or where the test is below.
fn profile_directory() -> Result<PathBuf, TestbedError> {
    let executable = std::env::current_exe()
        .map_err(|error| TestbedError::new(format!("cannot find this executable: {error}")))?;
    let directory = executable.parent().unwrap_or(Path::new("."));
    Ok(match directory.file_name().is_some_and(|name| name == "deps") {
        true => directory.parent().unwrap_or(directory).to_owned(),
        false => directory.to_owned(),
    })
}

/// What both binaries are made of, below the workspace.
const SOURCES: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "shared/Cargo.toml",
    "shared/src",
    "edge/Cargo.toml",
    "edge/src",
    "backend/Cargo.toml",
    "backend/src",
];

/// Whether `binary` is there and no younger source is. Without sources it was installed.
///
/// Cargo knows better, but asking it can mean a build: `cargo test` makes these binaries with
/// other features of their dependencies than `cargo build` would.
fn is_fresh(binary: &Path, workspace: &Path) -> bool {
    let Ok(built) = modified(binary) else { return false };
    SOURCES.iter().all(|source| newest(&workspace.join(source)).is_none_or(|time| time <= built))
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified())
}

/// When a file, or the youngest file below a directory, was changed.
fn newest(path: &Path) -> Option<SystemTime> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().filter_map(|entry| newest(&entry.path())).max(),
        Err(_) => modified(path).ok(),
    }
}

async fn build(directory: &Path) -> Result<(), TestbedError> {
    let cargo = option_env_at_run_time("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = tokio::process::Command::new(&cargo);
    command.args(["build", "--package", "edge", "--package", "backend"]);
    command.arg("--manifest-path").arg(workspace().join("Cargo.toml"));
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            command.args(["--profile", profile]);
        }
    }
    // Cargo shows its progress itself.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().await.map_err(|error| {
        TestbedError::new(format!("cannot run {} to build the tiers: {error}", cargo.display()))
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(TestbedError::new("cargo could not build edge and backend")),
    }
}

/// A variable that cargo sets for what it runs.
fn option_env_at_run_time(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_older_than_a_source_is_built_again() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        let write = |path: &str, second: u64| {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            let file = std::fs::File::create(at(path)).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
            file.set_modified(time).unwrap();
        };
        let is_fresh = || is_fresh(&at("target/edge"), directory.path());
        assert!(!is_fresh(), "it is not there");
        write("target/edge", 5);
        assert!(is_fresh());
        write("shared/src/wire/field.rs", 5);
        write("loadtest/src/main.rs", 6);
        assert!(is_fresh());
        write("shared/src/wire/field.rs", 6);
        assert!(!is_fresh());
    }
}
