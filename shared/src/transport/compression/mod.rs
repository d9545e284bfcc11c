//! Bodies and messages under the codings that OTLP's clients and servers speak.
//!
//! Both ways know the same codings. What comes in may be hostile, and is bounded while it grows;
//! what goes out is ours, and is made by tables that are used again.

mod compress;
mod inflate;

#[cfg(test)]
pub(crate) use compress::compress_as;
pub use compress::{Compressor, compress, content_encoding};
pub use inflate::{Coding, inflate, inflating};
