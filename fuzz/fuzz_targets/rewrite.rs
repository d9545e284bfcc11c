//! Rewriting: what is to change does, and nothing else; what was a request stays one.

#![no_main]
#![allow(dead_code, reason = "each target runs one of the properties")]

#[path = "../../shared/tests/wire_properties/oracle.rs"]
mod oracle;
#[path = "../../shared/tests/wire_properties/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::rewritten(bytes));
