//! Answers what is known about a trace: `GET /api/traces/{id}`.
//!
//! The question goes to the trace's shard, which answers between batches, so that what it says is
//! of one moment. Questions wait in a short row of their own and never hold spans up.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use shared::clock;
use shared::telemetry::admin::{Answers, NoAnswer};
use tokio::sync::{mpsc, oneshot};

use super::deadlines::Cause;
use super::evaluate::{Explanation, Opinion};
use super::outcome::Outcome;
use super::policy::Decision;
use super::trace::{Summary, TraceId};

/// Questions that wait for a shard at most.
const WAITING: usize = 8;
/// How long an operator waits for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// A question to a shard.
pub(super) struct Question {
    /// The trace that is asked about.
    pub(super) id: TraceId,
    /// Where the answer goes.
    pub(super) answer: oneshot::Sender<Known>,
}

/// What a shard knows about a trace.
#[derive(Debug)]
pub(super) enum Known {
    /// It waits for its decision.
    Buffered(Box<Buffered>),
    /// It was decided about.
    Decided(Decided),
    /// It never came, or what was decided about it is forgotten.
    Nothing,
}

/// What is known of a trace that waits.
#[derive(Debug)]
pub(super) struct Buffered {
    /// Its spans in sum.
    pub(super) summary: Summary,
    /// Time since its first span came.
    pub(super) age: Duration,
    /// Time until it is due; none when it is.
    pub(super) due_in: Duration,
    /// Why it is due then.
    pub(super) due_for: Cause,
    /// What is certain, so that its spans have left or were let go already.
    pub(super) outcome: Option<Outcome>,
    /// What the policies say by now; nothing if they were replaced and are forgotten.
    pub(super) explanation: Option<Explanation>,
    /// The name of the policy or part of one that would decide now.
    pub(super) by: Option<String>,
}

/// What is remembered of a trace that was decided about.
#[derive(Debug)]
pub(super) struct Decided {
    /// What was decided.
    pub(super) decision: Decision,
    /// The name of the policy or part of one that decided, where it is remembered.
    pub(super) by: Option<String>,
    /// Time since then, in whole seconds.
    pub(super) age: Duration,
}

/// The way for questions to the shards of a processor.
pub(super) struct Inspector {
    processor: String,
    /// Tells the shard of a trace.
    shard_of: Box<dyn Fn(&TraceId) -> usize + Send + Sync>,
    shards: Vec<mpsc::Sender<Question>>,
}

/// The ends of the rows of questions, one for each of `count` shards.
pub(super) fn rows(count: usize) -> (Vec<mpsc::Sender<Question>>, Vec<mpsc::Receiver<Question>>) {
    (0..count).map(|_| mpsc::channel(WAITING)).unzip()
}

impl Inspector {
    /// Asks the shards of `processor`.
    pub(super) fn new(
        processor: String,
        shard_of: impl Fn(&TraceId) -> usize + Send + Sync + 'static,
        shards: Vec<mpsc::Sender<Question>>,
    ) -> Self {
        Self { processor, shard_of: Box::new(shard_of), shards }
    }

    async fn ask(&self, id: TraceId) -> Result<Known, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let question = Question { id, answer };
        self.shards[(self.shard_of)(&id)].try_send(question).map_err(|error| {
            NoAnswer::Unavailable(match error {
                mpsc::error::TrySendError::Full(_) => "too many questions wait".into(),
                mpsc::error::TrySendError::Closed(_) => "the processor has stopped".into(),
            })
        })?;
        match tokio::time::timeout(ANSWER_TIME, answered).await {
            Ok(Ok(known)) => Ok(known),
            Ok(Err(_)) => Err(NoAnswer::Unavailable("the processor has stopped".into())),
            Err(_) => Err(NoAnswer::Unavailable(
                format!("the trace's shard did not answer within {ANSWER_TIME:?}").into(),
            )),
        }
    }
}

#[async_trait]
impl Answers for Inspector {
    async fn answer(&self, about: &str) -> Result<Value, NoAnswer> {
        let malformed = "a trace id is 32 hexadecimal digits, not all of them 0";
        let id = parse(about).ok_or(NoAnswer::Malformed(malformed.into()))?;
        let known = self.ask(id).await?;
        let mut answer = match known {
            Known::Buffered(trace) => buffered(&trace),
            Known::Decided(trace) => decided(&trace, clock::unix_ns()),
            Known::Nothing => json!({"state": "unknown"}),
        };
        answer["processor"] = json!(self.processor);
        answer["trace_id"] = json!(about.to_ascii_lowercase());
        Ok(answer)
    }
}

/// Reads a trace id.
fn parse(text: &str) -> Option<TraceId> {
    if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let id = u128::from_str_radix(text, 16).ok()?;
    (id != 0).then(|| id.to_be_bytes())
}

fn buffered(trace: &Buffered) -> Value {
    let Buffered { summary, age, due_in, due_for, outcome, explanation, by } = trace;
    let mut answer = json!({
        "state": "buffered",
        "spans": summary.spans,
        "bytes": summary.bytes,
        "root_seen": summary.rooted,
        "age_seconds": seconds(*age),
        "due_in_seconds": seconds(*due_in),
        "due_for": due_for.label(),
    });
    if let Some(outcome) = outcome {
        answer["certain"] = json!(outcome.label());
    }
    if let Some(explanation) = explanation {
        answer["decision_by_now"] = json!(explanation.verdict.decision.label());
        answer["policy"] = json!(by);
        answer["policies"] = opinions(&explanation.policies);
    }
    answer
}

fn decided(trace: &Decided, unix_ns: u64) -> Value {
    let Decided { decision, by, age } = trace;
    let age_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "state": if *decision == Decision::Sampled { "kept" } else { "dropped" },
        "decision": decision.label(),
        "policy": by,
        "age_seconds": age.as_secs(),
        "decided_at": clock::rfc3339(unix_ns.saturating_sub(age_ns)),
    })
}

fn opinions(opinions: &[Opinion]) -> Value {
    opinions.iter().map(opinion).collect()
}

fn opinion(opinion: &Opinion) -> Value {
    let vote = match &opinion.ballot {
        None => "not_asked",
        Some(Err(_)) => "failed",
        Some(Ok(vote)) => vote.decision.label(),
    };
    let mut value = json!({"policy": &*opinion.name, "vote": vote});
    if opinion.dry_run {
        value["dry_run"] = json!(true);
    }
    if let Some(by) = &opinion.by {
        value["decided_by"] = json!(&**by);
    }
    if let Some(foregone) = opinion.foregone {
        value["certain"] = json!(foregone.label());
    }
    if !opinion.parts.is_empty() {
        value["parts"] = opinions(&opinion.parts);
    }
    value
}

/// Seconds with three decimals.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn inspector() -> (Inspector, mpsc::Receiver<Question>) {
        let (mut senders, mut receivers) = rows(1);
        let shards = vec![senders.remove(0)];
        (Inspector::new("tail_sampling/a".to_owned(), |_| 0, shards), receivers.remove(0))
    }

    async fn unavailable(inspector: &Inspector) -> String {
        match inspector.answer(ID).await {
            Err(NoAnswer::Unavailable(why)) => why.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_trace_ids_are_asked_about() {
        let (inspector, _questions) = inspector();
        let (zeros, long, signed) = ("0".repeat(32), format!("{ID}0"), ID.replacen('4', "+", 1));
        for about in ["", "4bf9", &zeros, &long, &signed] {
            let answer = inspector.answer(about).await;
            assert!(matches!(answer, Err(NoAnswer::Malformed(_))), "{about}: {answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_decided_is_told_with_its_policy_and_time() {
        let (inspector, mut questions) = inspector();
        let shard = tokio::spawn(async move {
            let Question { id, answer } = questions.recv().await.unwrap();
            assert_eq!(id[..2], [0x4b, 0xf9]);
            let (decision, by) = (Decision::Sampled, Some("errors".to_owned()));
            answer.send(Known::Decided(Decided { decision, by, age: Duration::from_secs(3) }))
        });
        let mut answer = inspector.answer(&ID.to_uppercase()).await.unwrap();
        shard.await.unwrap().unwrap();
        assert!(answer["decided_at"].take().as_str().is_some_and(|at| at.starts_with("20")));
        let expected = json!({
            "processor": "tail_sampling/a", "trace_id": ID, "state": "kept", "decision": "sampled",
            "policy": "errors", "age_seconds": 3, "decided_at": null,
        });
        assert_eq!(answer, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_does_not_answer_keeps_nobody_waiting() {
        let (inspector, questions) = inspector();
        let begun = clock::now();
        assert_eq!(unavailable(&inspector).await, "the trace's shard did not answer within 2s");
        assert_eq!(clock::now() - begun, ANSWER_TIME);
        for _ in 1..WAITING {
            let (answer, _) = oneshot::channel();
            inspector.shards[0].try_send(Question { id: [1; 16], answer }).unwrap();
        }
        assert_eq!(unavailable(&inspector).await, "too many questions wait");
        drop(questions);
        assert_eq!(unavailable(&inspector).await, "the processor has stopped");
    }
}
