//! `backend replay`: what the policies would keep of recorded requests.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, FromArgMatches as _};
use serde_json::json;
use shared::config::{Decode as _, Document, Node, Path as KeyPath, Problems, Process};
use shared::otlp::recorded::{Recorded, RecordedError};
use shared::service::{ComponentId, Failure, Kind, Loaded, Model, ProcessorConfig as _};
use shared::{Batch, Signal, clock};

use crate::components;
use crate::tail_sampling::{Decided, Format, Replay, TailSamplingConfig};

/// Tell what the tail sampling policies would keep of recorded requests
///
/// Runs the policies over files as the Collector's `file` exporter, ours, and `loadtest sink
/// --record` write them, as fast as it can. Time is taken from the recording: a request comes at
/// the median of the end times of its spans.
#[derive(Debug, Args)]
struct ReplayArguments {
    /// A recorded file, JSON or protobuf, perhaps compressed with gzip or zstd. Repeat it for
    /// files that follow each other
    #[arg(long, value_name = "FILE", required = true)]
    input: Vec<PathBuf>,
    /// Also tell which traces this configuration would decide otherwise, and why
    #[arg(long, value_name = "URI")]
    compare: Option<String>,
    /// How many of those traces are listed
    #[arg(long, value_name = "TRACES", default_value_t = 20, requires = "compare")]
    limit: usize,
    /// This processor, by its id; needed when there are several
    #[arg(long, value_name = "ID")]
    processor: Option<String>,
    /// Write what is decided about each trace to this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  backend replay --config backend.yaml --input recorded.otlp.gz
      What each policy would keep, what nobody else would, and what it costs
  backend replay --config backend.yaml --input recorded.otlp.gz --compare new.yaml --limit 100
      Which traces the new policies would decide otherwise, and why
  backend replay --config backend.yaml --input a.json --input b.json --format json";

/// How often is told how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

pub(super) fn define() -> clap::Command {
    ReplayArguments::augment_args(clap::Command::new("replay")).after_help(EXAMPLES)
}

pub(super) fn run(loaded: &Loaded, matches: &clap::ArgMatches) -> Result<String, Failure> {
    let arguments = ReplayArguments::from_arg_matches(matches)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let wanted = arguments.processor.as_deref();
    let (id, config) = configured(&loaded.root, wanted)?;
    let mut titles = vec![id.clone()];
    let mut replay = match &arguments.compare {
        None => Replay::of(&config),
        Some(uri) => {
            let (other_id, other) = other(uri, wanted.or(Some(&id)))?;
            titles.push(format!("{other_id} of {uri}"));
            Replay::comparing(&config, &other, arguments.limit)
        }
    };
    let mut verdicts = arguments.verdicts.as_deref().map(Verdicts::create).transpose()?;
    if verdicts.is_some() {
        replay.keep_journal();
    }
    feed(&mut replay, &arguments.input, &mut verdicts)?;
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    Ok(replay.report(arguments.format, &titles))
}

/// Hands all files over, one after the other.
fn feed(
    replay: &mut Replay,
    files: &[PathBuf],
    verdicts: &mut Option<Verdicts>,
) -> Result<(), Failure> {
    let mut progress = Progress::begin();
    for file in files {
        let failed = |error: RecordedError| Failure::failed(format!("{}: {error}", file.display()));
        let mut recorded = Recorded::open(file, Signal::Traces).map_err(failed)?;
        for batch in &mut recorded {
            let batch: Batch = match batch {
                Ok(batch) => batch,
                // So ends a file that is still written, or whose writer was killed.
                Err(error @ RecordedError::CutOff { .. }) => {
                    tell(format_args!("{}: {error}; what is before is taken", file.display()));
                    break;
                }
                Err(error) => return Err(failed(error)),
            };
            note(&replay.feed(&batch), verdicts)?;
            progress.tell(file, replay);
        }
        if recorded.skipped() > 0 {
            let skipped = recorded.skipped();
            tell(format_args!("{}: {skipped} messages are no traces", file.display()));
        }
    }
    note(&replay.finish(), verdicts)?;
    verdicts.take().map_or(Ok(()), Verdicts::finish)
}

fn note(decided: &[Decided], verdicts: &mut Option<Verdicts>) -> Result<(), Failure> {
    match verdicts {
        Some(verdicts) => decided.iter().try_for_each(|decided| verdicts.write(decided)),
        None => Ok(()),
    }
}

/// The processor that is `wanted`, or the only one.
fn configured(root: &Node, wanted: Option<&str>) -> Result<(String, TailSamplingConfig), Failure> {
    let sections = root.get(Kind::Processor.section()).map(Node::entries).unwrap_or_default();
    let mut found: Vec<(String, TailSamplingConfig)> = Vec::new();
    for section in sections {
        match ComponentId::parse(&section.key) {
            Ok(id) if id.kind == TailSamplingConfig::TYPE => {}
            _ => continue,
        }
        let mut problems = Problems::default();
        // It was read before without any problem.
        let config = TailSamplingConfig::decode(&section.value, &KeyPath::ROOT, &mut problems);
        found.push((section.key.clone(), config.unwrap_or_default()));
    }
    let ids: Vec<_> = found.iter().map(|(id, _)| id.clone()).collect();
    let place = match wanted {
        Some(wanted) => ids.iter().position(|id| id == wanted),
        None => (found.len() == 1).then_some(0),
    };
    match (place, wanted) {
        (Some(place), _) => Ok(found.swap_remove(place)),
        (None, _) if ids.is_empty() => Err(Failure::usage("no tail_sampling is configured")),
        (None, Some(wanted)) => Err(Failure::usage(format!(
            "no processor {wanted:?} is configured (there are: {})",
            ids.join(", ")
        ))),
        (None, None) => Err(Failure::usage(format!(
            "several tail_sampling are configured; choose one with --processor ({})",
            ids.join(", ")
        ))),
    }
}

/// The processor of the configuration that is compared with: the same one, or the only one.
fn other(uri: &str, wanted: Option<&str>) -> Result<(String, TailSamplingConfig), Failure> {
    let wrong = |problems: &Problems| {
        let lines: Vec<String> =
            problems.errors().iter().map(|problem| format!("\n  {problem}")).collect();
        Failure::usage(format!("--compare {uri}: {} problem(s){}", lines.len(), lines.concat()))
    };
    let document = Document::load(&[uri.to_owned()], &[], &Process).map_err(|of| wrong(&of))?;
    let root = Arc::clone(&document.root);
    Model::read(document, &components::registry()).map_err(|of| wrong(&of))?;
    let only = configured(&root, None);
    let found = configured(&root, wanted).or(only);
    found.map_err(|error| Failure::usage(format!("--compare {uri}: {}", error.text())))
}

/// What is decided about each trace.
struct Verdicts {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Verdicts {
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| Self::failed(path, &error))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn failed(path: &Path, error: &io::Error) -> Failure {
        Failure::failed(format!("cannot write {}: {error}", path.display()))
    }

    fn write(&mut self, decided: &Decided) -> Result<(), Failure> {
        let Decided { trace_id, decision, policy } = decided;
        let line = json!({"trace_id": trace_id, "decision": decision, "policy": policy});
        writeln!(self.file, "{line}").map_err(|error| Self::failed(&self.path, &error))
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|error| Self::failed(&self.path, &error))
    }
}

/// Tells how far it is, now and then.
struct Progress {
    begun: Instant,
    next: Instant,
}

impl Progress {
    fn begin() -> Self {
        let begun = clock::now();
        Self { begun, next: begun + PROGRESS }
    }

    fn tell(&mut self, file: &Path, replay: &Replay) {
        let now = clock::now();
        if now < self.next {
            return;
        }
        self.next = now + PROGRESS;
        let input = replay.input();
        tell(format_args!(
            "{}: {} requests, {} spans, {} MiB, {} s of traffic in {} s",
            file.display(),
            input.requests,
            input.spans,
            input.bytes >> 20,
            input.traffic_ns / 1_000_000_000,
            now.saturating_duration_since(self.begun).as_secs()
        ));
    }
}

/// Says something beside the report.
fn tell(what: std::fmt::Arguments<'_>) {
    // Nobody can be told that the standard error is closed.
    drop(writeln!(io::stderr(), "backend: replay: {what}"));
}
