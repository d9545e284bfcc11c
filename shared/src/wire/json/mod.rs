//! OTLP/JSON, at the door only: JSON text to a request in wire form, and back.
//!
//! Both directions interpret the same tables (`schema`), one for each message. [`decode`] reads
//! what the Collector reads, which is more than the specification allows; [`encode`] writes the
//! specification's form only.
//!
//! | | read | written |
//! |---|---|---|
//! | field names | `lowerCamelCase`, `snake_case` | `lowerCamelCase` |
//! | trace and span ids | hex of any case, 32 and 16 digits; empty for none | hex, lower case |
//! | other bytes | base64 of either alphabet, with padding or without | standard base64 with padding |
//! | 64-bit integers | number or decimal string | decimal string |
//! | 32-bit integers | number or decimal string | number |
//! | enums | number or name | number |
//! | doubles | number or string, `NaN` and `Infinity` too | number; `NaN`, `Infinity`, `-Infinity` |
//! | strings | half a surrogate pair becomes U+FFFD | UTF-8 |
//! | `null` | as if the field were absent; in an array, and alone, an empty message | never |
//! | unknown fields | ignored | left out |
//!
//! A second value behind the request is an error, which the Collector passes over.
//!
//! Source: specification, "JSON Protobuf Encoding"; Collector pdata/internal/json.

mod decode;
mod encode;
mod schema;

use std::fmt;

pub use decode::decode;
pub use encode::encode;

/// Why text is not OTLP/JSON, or why a request cannot be written as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Where it stands, like `resourceSpans[0].scopeSpans[2].spans[5].traceId`; empty for the
    /// whole request.
    pub path: String,
    /// What is wrong there; with line and column when reading.
    pub reason: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.reason),
            path => write!(f, "{path}: {}", self.reason),
        }
    }
}

impl std::error::Error for JsonError {}

/// Where in the JSON document the work is. A step is taken back only after success, so that an
/// error finds the path to its place.
#[derive(Debug, Default)]
struct Path(Vec<Step>);

#[derive(Debug, Clone, Copy)]
enum Step {
    Key(&'static str),
    Index(usize),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if depth == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
