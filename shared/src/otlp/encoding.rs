//! How OTLP/HTTP encodes messages.

use http::{HeaderMap, HeaderValue, header};

use crate::config_enum;

config_enum! {
    /// How a message is encoded.
    pub enum Encoding {
        /// As over gRPC.
        Protobuf = "proto",
        /// As JSON.
        Json = "json",
    }
}

impl Encoding {
    /// What the content type says; parameters do not count.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Some(Encoding::Protobuf),
            "application/json" => Some(Encoding::Json),
            _ => None,
        }
    }

    /// The content type.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        })
    }
}
