//! The command line, the same for every tier.
//!
//! Exit codes: 0 when all went well; 64 when the command line or the configuration is wrong; 1
//! when something could not be started or items were lost while stopping.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::command::{Failure, Loaded, TierCommand, WRONG_USAGE};
use super::factory::Kind;
use super::model::Model;
use super::registry::{Gate, Registry, Turned};
use super::runtime;
use super::serve::{Options, serve};
use super::watch::{self, Watch};
use crate::config::{Document, Problems, print, units};
use crate::telemetry::metrics::Descriptor;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

/// Gates of the Collector that are accepted, so that a command line moves over. None of these
/// changes anything here; those that do are in the [`Registry`].
const GATES: [&str; 11] = [
    "confmap.enableMergeAppendOption",
    "pdata.useProtoPooling",
    "pkg.exporterhelper.queueBatchEnabled",
    "processor.tailsamplingprocessor.metricstatcountbytessampled",
    "processor.tailsamplingprocessor.metricstatcountspanssampled",
    "receiverhelper.newReceiverMetrics",
    "service.AllowNoPipelines",
    "service.partialReload",
    "service.partialReloadReceivers",
    "service.profilesSupport",
    "telemetry.newPipelineTelemetry",
];

/// A binary: what it is called and which components it knows.
pub struct App {
    /// Name of the binary.
    pub name: &'static str,
    /// Version of the binary.
    pub version: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Its component types.
    pub registry: Registry,
    /// The metrics of its components.
    pub descriptors: Vec<&'static [Descriptor]>,
    /// Its subcommands beside those that all have.
    pub commands: Vec<TierCommand>,
}

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = false, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sources: Sources,
    /// How long what is held may take to be sent after SIGTERM or SIGINT. A second signal ends
    /// the process at once
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    shutdown_timeout: Duration,
    /// Write the addresses that were bound to this file, as JSON by key path, once everything is
    /// ready; for tests that use port 0
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// How often the sources are read again; when they say something new, it is put in force as
    /// after SIGHUP. 0s is never
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    watch_config: Duration,
}

#[derive(Debug, Args)]
struct Sources {
    /// Where the configuration is: a file, env:NAME or yaml:TEXT. Repeat it to lay one over the
    /// other: maps are merged, everything else is replaced, and `key:` without a value wipes
    #[arg(long, value_name = "URI", global = true)]
    config: Vec<String>,
    /// Set one value on top of all sources: receivers.otlp.protocols.grpc.endpoint=0.0.0.0:4317
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    /// The Collector's gates. Those that are keys here set them where they are not written; the
    /// others change nothing
    #[arg(long, value_name = "GATES", global = true, value_delimiter = ',')]
    #[arg(allow_hyphen_values = true)]
    feature_gates: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and start nothing; silent when all is well
    Validate,
    /// Print the configuration as it is after merging and replacing placeholders
    #[command(alias = "print-initial-config")]
    PrintConfig {
        /// In which form
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
        /// Whether passwords, tokens, keys and header values are shown
        #[arg(long, value_enum, default_value_t = Mode::Redacted)]
        mode: Mode,
        /// Whether to check it first, and print nothing if something is wrong
        #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
        validate: bool,
    },
    /// List the component types that this binary knows, as YAML
    Components,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Redacted,
    Unredacted,
}

fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).map_err(|error| error.to_string())
}

/// Runs a binary until it is done or told to stop.
pub fn main(app: &App) -> ExitCode {
    let outcome = match command(app).try_get_matches().and_then(|matches| parse(app, &matches)) {
        Ok(Asked::OfAll(arguments)) => obey(app, &arguments),
        Ok(Asked::OfTier(command, sources, own)) => obey_tier(app, command, &sources, &own),
        Err(error) => {
            let shown = error.print();
            return match shown.is_ok() && !error.use_stderr() {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(WRONG_USAGE),
            };
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, text }) => {
            // Where stderr is gone, the exit code still tells.
            drop(std::io::stderr().write_all(text.as_bytes()));
            ExitCode::from(code)
        }
    }
}

/// What a command line asks for.
enum Asked<'a> {
    OfAll(Arguments),
    OfTier(&'a TierCommand, Sources, ArgMatches),
}

fn parse<'a>(app: &'a App, matches: &ArgMatches) -> Result<Asked<'a>, clap::Error> {
    for command in &app.commands {
        if let Some(own) = matches.subcommand_matches((command.define)().get_name()) {
            let sources = Sources::from_arg_matches(matches)?;
            return Ok(Asked::OfTier(command, sources, own.clone()));
        }
    }
    Arguments::from_arg_matches(matches).map(Asked::OfAll)
}

/// Does what all binaries do.
fn obey(app: &App, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        None => run(app, arguments),
        Some(Command::Validate) => {
            let model = read(app, load(app, &arguments.sources)?)?;
            warn(app, &model);
            Ok(())
        }
        Some(Command::PrintConfig { format, mode, validate }) => {
            print_config(app, &arguments.sources, *format, *mode, *validate)
        }
        Some(Command::Components) => show(&components(app)),
    }
}

/// Does what only this binary does.
fn obey_tier(
    app: &App,
    command: &TierCommand,
    sources: &Sources,
    own: &ArgMatches,
) -> Result<(), Failure> {
    let document = load(app, sources)?;
    let root = Arc::clone(&document.root);
    let loaded = Loaded { root, model: read(app, document)? };
    let text = (command.run)(&loaded, own).map_err(|Failure { code, text }| Failure {
        code,
        text: format!("{}: {text}\n", app.name),
    })?;
    show(&text)
}

fn command(app: &App) -> clap::Command {
    let name = app.name;
    let examples = format!(
        "Examples:
  {name} --config {name}.yaml
      Run until SIGTERM or SIGINT; then send what is held and exit with 0 if nothing was lost
  {name} validate --config {name}.yaml
      Name every mistake with its line; exit with 64 if there is one
  {name} --config {name}.yaml --config local.yaml --set service.telemetry.logs.level=debug
      Lay a second file and one value over the first file
  {name} print-config --config {name}.yaml --format json
      See what is left after merging and replacing ${{env:NAME:-default}}"
    );
    Arguments::command()
        .name(name)
        .version(app.version)
        .about(app.about)
        .after_help(examples)
        .subcommands(app.commands.iter().map(|command| (command.define)()))
}

fn load(app: &App, sources: &Sources) -> Result<Document, Failure> {
    if sources.config.is_empty() {
        let usage = command(app).render_usage();
        let text = format!(
            "error: no configuration: give at least one --config, such as --config {}.yaml\n\n\
             {usage}\n\nFor more information, try '--help'.\n",
            app.name
        );
        return Err(Failure { code: WRONG_USAGE, text });
    }
    let sources = sources.resolve(app)?;
    sources.load().map_err(|problems| wrong(app, &problems))
}

impl Sources {
    /// With the feature gates looked up.
    fn resolve(&self, app: &App) -> Result<watch::Sources, Failure> {
        let gates = app.registry.gates();
        let known: Vec<&str> =
            GATES.into_iter().chain(gates.iter().map(|gate| gate.name)).collect();
        let name = |given: &str| given.trim_start_matches(['-', '+']).to_owned();
        let stranger = |given: &&String| !known.contains(&name(given).as_str());
        if let Some(given) = self.feature_gates.iter().find(stranger) {
            let (name, valid) = (name(given), known.join(" "));
            let text = format!("no such feature gate \"{name}\". valid gates: [{valid}]");
            return Err(Failure { code: WRONG_USAGE, text: format!("error: {text}\n") });
        }
        let is_turned = |gate: &&Gate| {
            self.feature_gates.iter().any(|given| match gate.turned {
                Turned::On => given.trim_start_matches('+') == gate.name,
                Turned::Off => given.strip_prefix('-') == Some(gate.name),
            })
        };
        Ok(watch::Sources {
            configs: self.config.clone(),
            sets: self.set.clone(),
            gates: gates.iter().filter(is_turned).copied().collect(),
        })
    }

    /// Gates that were given and change nothing.
    fn idle_gates(&self) -> Vec<String> {
        let is_idle = |given: &&String| GATES.contains(&given.trim_start_matches(['-', '+']));
        self.feature_gates.iter().filter(is_idle).cloned().collect()
    }
}

fn read(app: &App, document: Document) -> Result<Model, Failure> {
    Model::read(document, &app.registry).map_err(|problems| wrong(app, &problems))
}

/// What is valid and does not mean what it seems to, one a line.
fn warn(app: &App, model: &Model) {
    for warning in &model.warnings {
        // Nobody can be told that the standard error is closed.
        drop(writeln!(std::io::stderr(), "{}: warning: {warning}", app.name));
    }
}

/// All problems, one a line.
fn wrong(app: &App, problems: &Problems) -> Failure {
    let count = problems.errors().len();
    let plural = if count == 1 { "problem" } else { "problems" };
    let mut text = format!("{}: {count} {plural} in the configuration\n", app.name);
    for problem in problems.errors() {
        writeln!(text, "  {problem}").expect("a string takes any text");
    }
    Failure { code: WRONG_USAGE, text }
}

fn show(text: &str) -> Result<(), Failure> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| Failure {
        code: 1,
        text: format!("error: cannot write to stdout: {error}\n"),
    })
}

fn print_config(
    app: &App,
    sources: &Sources,
    format: Format,
    mode: Mode,
    validate: bool,
) -> Result<(), Failure> {
    let document = load(app, sources)?;
    let root = match mode {
        Mode::Redacted => print::redacted(&document.root),
        Mode::Unredacted => (*document.root).clone(),
    };
    match validate {
        true => drop(read(app, document)?),
        false if !document.problems.is_empty() => return Err(wrong(app, &document.problems)),
        false => {}
    }
    show(&match format {
        Format::Yaml => print::yaml(&root),
        Format::Json => print::json(&root),
    })
}

/// All component types as YAML, under the Collector's keys; older spellings are left out.
fn components(app: &App) -> String {
    let mut text = format!(
        "buildinfo:\n  command: {}\n  description: {}\n  version: {}\n",
        app.name,
        print::word(app.about),
        app.version
    );
    for kind in Kind::ALL {
        let mut factories: Vec<_> =
            app.registry.factories().iter().filter(|factory| factory.kind == kind).collect();
        factories.sort_by_key(|factory| factory.type_name);
        text.push_str(kind.section());
        text.push_str(match factories.is_empty() {
            true => ": []\n",
            false => ":\n",
        });
        for factory in factories {
            writeln!(text, "  - name: {}", factory.type_name).expect("a string takes any text");
            let signals: Vec<String> = factory
                .signals
                .iter()
                .map(|(from, to)| match kind {
                    Kind::Connector => format!("{from} to {to}"),
                    _ => from.to_string(),
                })
                .collect();
            if !signals.is_empty() {
                let signals = signals.join(", ");
                writeln!(text, "    signals: [{signals}]").expect("a string takes any text");
            }
        }
    }
    text
}

fn run(app: &App, arguments: &Arguments) -> Result<(), Failure> {
    let model = read(app, load(app, &arguments.sources)?)?;
    let sources = arguments.sources.resolve(app)?;
    let failed = |text: String| Failure { code: 1, text: format!("{}: {text}\n", app.name) };
    let runtime = runtime::start().map_err(|error| failed(error.to_string()))?;
    let options = Options {
        shutdown_timeout: arguments.shutdown_timeout,
        ports_file: arguments.ports_file.clone(),
        idle_gates: arguments.sources.idle_gates(),
    };
    let watch = Watch::new(sources, arguments.watch_config, &model.root);
    let outcome = runtime.block_on(serve(app, &model, watch, &options)).map_err(failed);
    // What did not stop in time must not keep the process.
    runtime.shutdown_background();
    match outcome?.is_clean() {
        true => Ok(()),
        // It was logged what was lost.
        false => Err(Failure { code: 1, text: String::new() }),
    }
}
