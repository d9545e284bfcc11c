//! The OTLP receiver and exporters.

mod encoding;
mod grpc_exporter;
mod http_exporter;
mod intake;
pub mod metrics;
mod receiver;
pub mod recorded;
#[cfg(test)]
mod tests;

pub use encoding::Encoding;
pub use grpc_exporter::OtlpGrpcConfig;
pub use http_exporter::OtlpHttpConfig;
pub use intake::{Door, Intake, Refusal, Turned};
pub use metrics::DESCRIPTORS;
pub use receiver::{OtlpHttpServerConfig, OtlpReceiverConfig, ProtocolsConfig};

use crate::queue::Delivered;
use crate::wire::{Fields, Value};

/// Reads an export answer, whatever its signal: all have a partial success in field 1, with the
/// rejected items in its field 1 and a message in its field 2.
pub(crate) fn read_answer(answer: &[u8]) -> Delivered {
    let mut delivered = Delivered::default();
    let partial = Fields::new(answer).filter(|field| field.number == 1);
    let fields = partial.filter_map(|field| field.value.bytes()).flat_map(Fields::new);
    for field in fields {
        match (field.number, field.value) {
            // A negative number, which no server should send, is no number of items.
            (1, Value::Varint(items)) => {
                delivered.rejected_items =
                    i64::try_from(items).ok().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            }
            (2, Value::Bytes(message)) => {
                delivered.message = String::from_utf8_lossy(message).into_owned();
            }
            _ => {}
        }
    }
    delivered
}
