//! OTLP as bytes: readers that borrow, a writer with exact lengths, and the regrouping of requests.
//!
//! The three signals share one shape: a request holds resource entries, an entry holds scope
//! entries, a scope entry holds records (spans, log records, metrics). Everything here works on
//! that shape, so one piece of code serves all signals.
//!
//! Invariants: uses `std` and `bytes` only, does no I/O, never panics on any input.
//! [`check`] refuses a request whose framing is bad down to a record's own fields; the readers
//! below it have no error path: bad framing deeper inside ends an iteration early.

pub mod attribute;
pub mod export;
pub mod field;
pub mod metric;
pub mod regroup;
pub mod span;
pub mod write;

pub use attribute::{AnyValue, Attributes};
pub use export::{Checked, Layout, Malformed, Resource, ResourceEntry, ScopeEntry, Signal, check};
pub use field::{Field, Fields, Value};
pub use metric::{DataKind, Metric, Temporality};
pub use regroup::{Part, regroup, regroup_indexed, regroup_resources};
pub use span::{Span, StatusCode};
pub use write::Writer;
