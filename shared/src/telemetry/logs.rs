//! Logs on stderr, as text or as JSON.

use tracing_subscriber::EnvFilter;

use super::config::{Encoding, LogLevel, LogsConfig};

/// What the libraries below us say is of use only when something is wrong with them.
const QUIET: [&str; 9] = [
    "h2",
    "hyper",
    "hyper_util",
    "tonic",
    "tower",
    "rustls",
    "hickory_proto",
    "hickory_resolver",
    "hickory_net",
];

/// Begins to log; nothing happens if something else in the process already took the logs.
pub(super) fn start(config: &LogsConfig) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(filter(config.level));
    let started = match config.encoding {
        Encoding::Console => builder.try_init(),
        Encoding::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logs go where they went before");
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    let level = match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error | LogLevel::Dpanic | LogLevel::Panic | LogLevel::Fatal => "error",
    };
    let quiet = if level == "error" { "error" } else { "warn" };
    let mut directives = vec![level.to_owned()];
    directives.extend(QUIET.map(|target| format!("{target}={quiet}")));
    EnvFilter::new(directives.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_no_louder_than_warnings() {
        let text = filter(LogLevel::Debug).to_string();
        assert!(text.contains("debug") && text.contains("h2=warn"), "{text}");
        let text = filter(LogLevel::Fatal).to_string();
        assert!(text.contains("h2=error"), "{text}");
    }
}
