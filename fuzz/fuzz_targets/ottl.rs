//! Conditions and statements, read and evaluated.

#![no_main]

#[path = "../../shared/tests/ottl/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    properties::any_bytes_can_be_asked_about(bytes);
    properties::any_bytes_can_be_changed(bytes);
});
