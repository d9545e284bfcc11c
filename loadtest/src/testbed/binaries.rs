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
        if is_fresh(&binaries.edge) && is_fresh(&binaries.backend) {
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

/// Whether `binary` is younger than everything it was made of, by the list that cargo keeps.
fn is_fresh(binary: &Path) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified());
    let Ok(built) = modified(binary) else { return false };
    let Ok(list) = std::fs::read_to_string(binary.with_extension("d")) else {
        // Not built here but installed: there is nothing to compare it with.
        return !workspace().join("Cargo.toml").is_file();
    };
    let lock = workspace().join("Cargo.lock");
    let is_older = |path: &Path| modified(path).is_ok_and(|changed: SystemTime| changed <= built);
    sources(&list).iter().all(|source| is_older(source)) && is_older(&lock)
}

/// The files behind the colon of a dependency list; blanks in names are escaped.
fn sources(list: &str) -> Vec<PathBuf> {
    let Some((_, files)) = list.trim_end().split_once(": ") else { return Vec::new() };
    let marked = files.replace("\\ ", "\0");
    marked.split(' ').map(|file| PathBuf::from(file.replace('\0', " "))).collect()
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
    fn blanks_in_the_list_of_sources_are_kept() {
        let files = sources("/t/edge: /a/main.rs /b\\ c/lib.rs\n");
        assert_eq!(files, [PathBuf::from("/a/main.rs"), PathBuf::from("/b c/lib.rs")]);
    }

    #[test]
    fn a_binary_older_than_a_source_is_built_again() {
        let directory = tempfile::tempdir().unwrap();
        let (binary, source) = (directory.path().join("edge"), directory.path().join("main.rs"));
        std::fs::write(&source, "").unwrap();
        std::fs::write(&binary, "").unwrap();
        let list = format!("{}: {}\n", binary.display(), source.display());
        std::fs::write(binary.with_extension("d"), list).unwrap();
        let set = |path: &Path, time: SystemTime| {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        let lock = std::fs::metadata(workspace().join("Cargo.lock")).unwrap().modified().unwrap();
        let later = lock + std::time::Duration::from_secs(60);
        set(&binary, later);
        set(&source, lock);
        assert!(is_fresh(&binary));
        set(&source, later + std::time::Duration::from_secs(1));
        assert!(!is_fresh(&binary));
        std::fs::remove_file(&source).unwrap();
        assert!(!is_fresh(&binary), "a source that is gone may have moved");
    }
}
