//! OTLP as bytes: readers that borrow, a writer with exact lengths, the regrouping of requests and
//! their rewriting.
//!
//! The three signals share one shape: a request holds resource entries, an entry holds scope
//! entries, a scope entry holds records (spans, log records, metrics). Everything here works on
//! that shape, so one piece of code serves all signals.
//!
//! Invariants: does no I/O, never panics on any input. [`check()`] refuses a request whose framing
//! is bad down to the fields of its records and data points; the readers below it have no error
//! path: bad framing deeper inside ends an iteration early.
//!
//! Of a field that occurs twice the last one counts, and a resource or scope that occurs twice is
//! merged, as protobuf has it. Other messages that occur twice (a status, a value) are not: there
//! too the last one counts. No encoder writes them so.

pub mod attribute;
pub mod check;
pub mod export;
pub mod field;
pub mod json;
pub mod log;
pub mod metric;
pub mod names;
pub mod regroup;
pub mod rewrite;
pub mod span;
pub mod text;
pub mod trace_state;
pub mod write;

pub use attribute::{AnyValue, Attributes};
pub use check::{Checked, Layout, Malformed, check, count};
pub use export::{Resource, ResourceEntry, ScopeEntry, Signal, resources};
pub use field::{Field, Fields, Value};
pub use log::LogRecord;
pub use metric::{DataKind, Metric, Temporality};
pub use names::Names;
pub use regroup::{Grouping, Part, regroup, regroup_indexed, regroup_points, regroup_resources};
pub use rewrite::{Change, Editor, Empties, Head, Visit, rewrite};
pub use span::{Span, StatusCode};
pub use write::Writer;
