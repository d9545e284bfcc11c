//! Regrouping: no record is lost, and parts of a request are requests.

#![no_main]
#![allow(dead_code, reason = "each target runs one of the properties")]

#[path = "../../shared/tests/wire_properties/oracle.rs"]
mod oracle;
#[path = "../../shared/tests/wire_properties/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    properties::regrouped(bytes);
    properties::regrouped_by_point(bytes);
});
