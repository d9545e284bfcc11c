//! Commands and configurations with placeholders.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use shared::config::Compression;

use crate::testbed::TestbedError;
use crate::testbed::process::{GRPC, HTTP};

/// What placeholders stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(BTreeMap<String, String>);

impl Places {
    /// Those of a gateway on `host`.
    pub(super) fn on(host: Ipv4Addr) -> Self {
        let at = |port| SocketAddr::from((host, port));
        Self::default().with("host", &host).with("listen", &at(GRPC)).with("listen_http", &at(HTTP))
    }

    /// The same with another one.
    pub(super) fn with(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// The same with what an edge needs: the backends behind it.
    pub(super) fn with_backends(mut self, backends: &[SocketAddr]) -> Self {
        for (index, backend) in backends.iter().enumerate() {
            self = self.with(&format!("backend_{index}"), backend);
        }
        let all: Vec<String> = backends.iter().map(ToString::to_string).collect();
        self.with("backends", &all.join(","))
    }

    /// The same with the file that was made from the template.
    pub(super) fn with_config(self, path: &Path) -> Self {
        self.with("config", &path.display())
    }

    /// The text with every placeholder filled in.
    ///
    /// # Errors
    /// With the names of those that have no value here.
    pub(super) fn fill(&self, text: &str) -> Result<String, TestbedError> {
        let (mut filled, mut unknown) = (String::with_capacity(text.len()), Vec::new());
        let mut rest = text;
        while let Some((before, name, after)) = next_placeholder(rest) {
            filled.push_str(before);
            match self.0.get(name) {
                Some(value) => filled.push_str(value),
                None => unknown.push(format!("{{{name}}}")),
            }
            rest = after;
        }
        filled.push_str(rest);
        match unknown.is_empty() {
            true => Ok(filled),
            false => Err(TestbedError::new(format!(
                "{} cannot be filled in; there are {}",
                unknown.join(", "),
                self.0.keys().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}

/// The text before the next `{name}`, the name, and the text behind it.
///
/// A brace that does not enclose a name is text: YAML and JSON are full of them, and `${env:NAME}`
/// is the gateway's own.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text.get(from..)?.find('{')?;
        let inside = text.get(open + 1..)?;
        let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let end = inside.find(|c| !is_of_name(c)).unwrap_or(inside.len());
        if end > 0
            && let Some(after) = inside.get(end..).and_then(|rest| rest.strip_prefix('}'))
            && !text.get(..open)?.ends_with('$')
        {
            return Some((text.get(..open)?, inside.get(..end)?, after));
        }
        from = open + 1;
    }
}

/// As configurations name it.
pub(super) fn name_of(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        _ => "none",
    }
}

/// A command line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// Names and values of variables.
    pub(super) environment: Vec<(String, String)>,
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
}

impl CommandLine {
    /// Splits `text` into words as a shell would, and fills in placeholders, which cannot add words.
    ///
    /// # Errors
    /// When a quote is not closed, there is no program, or a placeholder has no value.
    pub(super) fn new(text: &str, places: &Places) -> Result<Self, TestbedError> {
        let failed = |why: &str| TestbedError::new(format!("in the command {text:?}: {why}"));
        let words = shlex::split(text).ok_or_else(|| failed("a quote is not closed"))?;
        let mut words = words.into_iter().peekable();
        let mut environment = Vec::new();
        while let Some(assignment) = words.next_if(|word| assigned(word).is_some()) {
            if let Some((name, value)) = assigned(&assignment) {
                environment.push((name.to_owned(), places.fill(value)?));
            }
        }
        let program = words.next().ok_or_else(|| failed("it names no program"))?;
        let arguments = words.map(|word| places.fill(&word)).collect::<Result<_, _>>();
        Ok(Self {
            environment,
            program: places.fill(&program)?,
            arguments: arguments.map_err(|error| failed(&error.to_string()))?,
        })
    }
}

/// The program that a command names, before anything is filled in; empty if there is none.
pub(super) fn program_of(command: &str) -> String {
    let words = shlex::split(command).unwrap_or_default();
    words.into_iter().find(|word| assigned(word).is_none()).unwrap_or_default()
}

/// `NAME=value`, taken apart.
fn assigned(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let backends = ["127.0.0.2:4317".parse().unwrap(), "127.0.0.3:4317".parse().unwrap()];
        Places::on(Ipv4Addr::LOCALHOST).with_backends(&backends)
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        let filled = places().fill("a: {listen}\nb: [{backends}]\nc: {backend_1}{host}").unwrap();
        assert_eq!(
            filled,
            "a: 127.0.0.1:4317\nb: [127.0.0.2:4317,127.0.0.3:4317]\nc: 127.0.0.3:4317127.0.0.1"
        );
    }

    #[test]
    fn other_braces_are_text() {
        let text = "tls: {insecure: true}\nx: {}\ny: ${env:HOME} ${env} {A} {";
        assert_eq!(places().fill(text).unwrap(), text);
    }

    #[test]
    fn a_placeholder_without_a_value_is_named() {
        let error = places().fill("{listen} {backend_2} {lisen}").unwrap_err().to_string();
        assert!(
            error.starts_with("{backend_2}, {lisen} cannot be filled in; there are "),
            "{error}"
        );
    }

    #[test]
    fn what_is_filled_in_is_not_filled_in_again() {
        let places = Places::default().with("policies", "[{host}]");
        assert_eq!(places.fill("{policies}").unwrap(), "[{host}]");
    }

    #[test]
    fn a_command_is_split_like_a_shell_does() {
        let line = "GOGC=400 EMPTY= './my collector' --config={listen} 'a b' x=1";
        let expected = CommandLine {
            environment: vec![("GOGC".into(), "400".into()), ("EMPTY".into(), String::new())],
            program: "./my collector".into(),
            arguments: vec!["--config=127.0.0.1:4317".into(), "a b".into(), "x=1".into()],
        };
        assert_eq!(CommandLine::new(line, &places()).unwrap(), expected);
    }

    #[test]
    fn the_program_stands_behind_its_environment() {
        assert_eq!(program_of("A=1 B='x y' './my collector' {listen} C=2"), "./my collector");
        assert_eq!(program_of("A=1"), "");
    }

    #[test]
    fn a_command_that_cannot_be_run_says_why() {
        for (line, why) in [("'a", "not closed"), ("A=1", "no program"), ("a {b}", "{b} cannot")] {
            let error = CommandLine::new(line, &places()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
