//! Where configuration text comes from: files, environment variables, the text itself.

use std::io;

/// Largest text that one source may have, in bytes.
const MAX_SOURCE: u64 = 4 << 20;

/// What reading a configuration asks of the world.
pub trait World {
    /// The value of an environment variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&self, path: &str) -> io::Result<String>;
}

/// The process's own files and environment.
#[derive(Debug, Clone, Copy)]
pub struct Process;

impl Process {
    /// The host's name; `localhost` where it has none.
    pub fn host_name(self) -> String {
        let name = self.file("/proc/sys/kernel/hostname").unwrap_or_default();
        match name.trim() {
            "" => self.variable("HOSTNAME").unwrap_or_else(|| "localhost".to_owned()),
            name => name.to_owned(),
        }
    }
}

impl World for Process {
    #[allow(clippy::disallowed_methods, reason = "config is the module that may")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> io::Result<String> {
        use std::io::Read as _;

        let mut text = String::new();
        // One byte more than allowed tells a long file from one that just fits.
        std::fs::File::open(path)?.take(MAX_SOURCE + 1).read_to_string(&mut text)?;
        match text.len() as u64 > MAX_SOURCE {
            true => Err(io::Error::other(format!("longer than {MAX_SOURCE} bytes"))),
            false => Ok(text),
        }
    }
}

/// A place that text can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// `file:PATH`
    File(String),
    /// `env:NAME`, `env:NAME:-DEFAULT`
    Variable { name: String, default: Option<String> },
    /// `yaml:TEXT`
    Text(String),
}

/// What was fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    Text(String),
    /// A variable that is not set and has no default.
    Unset,
    /// A default that says nothing: `${env:NAME:-}`.
    EmptyDefault,
}

/// The scheme of `uri` and what follows it. A drive letter (`C:\x`) is no scheme.
fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    is_scheme.then_some((scheme, rest))
}

impl Location {
    /// Reads the value of `--config`, where a bare path is a file.
    pub(super) fn of_flag(uri: &str) -> Result<Self, String> {
        match split_scheme(uri) {
            Some((scheme, rest)) => Self::of_scheme(scheme, rest),
            None => Ok(Self::File(uri.to_owned())),
        }
    }

    /// Reads what stands between `${` and `}`, where a bare name is a variable.
    pub(super) fn of_placeholder(uri: &str) -> Result<Self, String> {
        if uri.contains('$') {
            return Err(format!("the uri \"{uri}\" contains unsupported characters ('$')"));
        }
        match split_scheme(uri) {
            Some((_, rest)) if rest.starts_with('-') => Self::variable(uri),
            Some((scheme, rest)) => Self::of_scheme(scheme, rest),
            None => Self::variable(uri),
        }
    }

    fn of_scheme(scheme: &str, rest: &str) -> Result<Self, String> {
        match scheme {
            "file" => Ok(Self::File(rest.to_owned())),
            "env" => Self::variable(rest),
            "yaml" => Ok(Self::Text(rest.to_owned())),
            "http" | "https" => Err(format!(
                "{scheme}:{rest}: configuration is not read over the network; fetch it into a file"
            )),
            _ => Err(format!(
                "scheme \"{scheme}\" is not supported for uri \"{scheme}:{rest}\" \
                 (known: env, file, yaml)"
            )),
        }
    }

    fn variable(text: &str) -> Result<Self, String> {
        let (name, default) = match text.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (text, None),
        };
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match valid {
            true => Ok(Self::Variable { name: name.to_owned(), default }),
            false => Err(format!(
                "environment variable \"{name}\" has invalid name: must match regex \
                 ^[a-zA-Z_][a-zA-Z0-9_]*$"
            )),
        }
    }

    /// The location, as messages name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.clone(),
            Self::Variable { name, .. } => format!("env:{name}"),
            Self::Text(_) => "yaml:".to_owned(),
        }
    }

    /// Gets the text.
    pub(super) fn fetch(&self, world: &dyn World) -> Result<Fetched, String> {
        match self {
            Self::Text(text) => Ok(Fetched::Text(text.clone())),
            Self::File(path) => match world.file(path) {
                Ok(text) => Ok(Fetched::Text(text)),
                Err(error) => Err(format!("cannot read \"{path}\": {error}")),
            },
            Self::Variable { name, default } => Ok(match (world.variable(name), default) {
                (Some(text), _) => Fetched::Text(text),
                (None, None) => Fetched::Unset,
                (None, Some(default)) if default.is_empty() => Fetched::EmptyDefault,
                (None, Some(default)) => Fetched::Text(default.clone()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_path_is_a_file_and_a_bare_name_a_variable() {
        let file = |path: &str| Ok(Location::File(path.to_owned()));
        assert_eq!(Location::of_flag("a/b.yaml"), file("a/b.yaml"));
        assert_eq!(Location::of_flag("file:b.yaml"), file("b.yaml"));
        assert_eq!(Location::of_flag(r"C:\b.yaml"), file(r"C:\b.yaml"));
        let variable = |default: Option<&str>| {
            Ok(Location::Variable { name: "A_1".into(), default: default.map(str::to_owned) })
        };
        assert_eq!(Location::of_placeholder("A_1"), variable(None));
        assert_eq!(Location::of_placeholder("env:A_1:-x:-y"), variable(Some("x:-y")));
        assert_eq!(Location::of_placeholder("A_1:-x"), variable(Some("x")));
    }

    #[test]
    fn what_cannot_be_fetched_says_why() {
        let error = |uri| Location::of_flag(uri).unwrap_err();
        assert!(error("https://a/b").contains("not read over the network"));
        assert!(error("s3:b").starts_with("scheme \"s3\" is not supported"));
        assert!(error("env:1A").starts_with("environment variable \"1A\" has invalid name"));
        let location = Location::of_flag("/nonexistent/x.yaml").unwrap();
        let error = location.fetch(&Process).unwrap_err();
        assert!(error.starts_with("cannot read \"/nonexistent/x.yaml\": "), "{error}");
    }
}
