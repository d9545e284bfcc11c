//! Shows how far a run is: one bar in a terminal, a line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::report::thousands;

/// What there is to show.
pub struct Reading {
    /// Spans so far.
    pub spans: u64,
    /// What else is worth a glance.
    pub detail: String,
}

/// A display that follows a run until it is finished.
pub struct Progress {
    done: CancellationToken,
    task: JoinHandle<()>,
}

impl Progress {
    /// Shows `read`'s readings on standard error, against `total` spans if that is known.
    pub fn start(total: Option<u64>, read: impl Fn() -> Reading + Send + 'static) -> Self {
        let done = CancellationToken::new();
        let finished = done.clone();
        let task = tokio::spawn(async move {
            match std::io::stderr().is_terminal() {
                true => show_bar(total, read, finished).await,
                false => write_lines(total, read, finished).await,
            }
        });
        Self { done, task }
    }

    /// Takes the display away.
    pub async fn finish(self) {
        self.done.cancel();
        // It ends at once, and has nothing to say.
        drop(self.task.await);
    }
}

/// The rate between the last reading and this one.
struct Rate {
    time: Instant,
    spans: u64,
    smoothed: f64,
}

impl Rate {
    fn new() -> Self {
        Self { time: Instant::now(), spans: 0, smoothed: 0.0 }
    }

    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn update(&mut self, spans: u64) -> u64 {
        let elapsed = self.time.elapsed().as_secs_f64().max(0.001);
        let rate = spans.saturating_sub(self.spans) as f64 / elapsed;
        // Of the last second or so.
        let weight = (elapsed / (elapsed + 0.5)).clamp(0.0, 1.0);
        self.smoothed += (rate - self.smoothed) * weight;
        (self.time, self.spans) = (Instant::now(), spans);
        crate::testbed::page::whole(self.smoothed)
    }
}

async fn show_bar(total: Option<u64>, read: impl Fn() -> Reading, done: CancellationToken) {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{elapsed:>4}  {bar:28}  {msg}",
        None => "{elapsed:>4}  {spinner}  {msg}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    bar.set_style(style.progress_chars("━━ ").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    let mut rate = Rate::new();
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = done.cancelled() => break,
            _ = ticks.tick() => {
                let Reading { spans, detail } = read();
                bar.set_position(spans);
                let (rate, spans) = (thousands(rate.update(spans)), thousands(spans));
                bar.set_message(format!("{spans} spans  {rate}/s  {detail}"));
                bar.tick();
            }
        }
    }
    bar.finish_and_clear();
}

async fn write_lines(total: Option<u64>, read: impl Fn() -> Reading, done: CancellationToken) {
    let mut rate = Rate::new();
    let started = Instant::now();
    let mut ticks = interval(Duration::from_secs(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The first one comes at once, when there is nothing to show.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            _ = ticks.tick() => {
                let Reading { spans, detail } = read();
                let of = total.map(|total| format!(" of about {}", thousands(total)));
                let line = format!(
                    "{:>4}s  {}{} spans  {}/s  {detail}",
                    started.elapsed().as_secs(),
                    thousands(spans),
                    of.unwrap_or_default(),
                    thousands(rate.update(spans)),
                );
                say(&line);
            }
        }
    }
}

/// One line on standard error.
pub fn say(line: &str) {
    // Nobody may be listening any more; the run goes on.
    drop(writeln!(std::io::stderr(), "{line}"));
}
