//! Against the Collector's own answers, and vectors made by running its code.

use super::*;

#[test]
fn ids_are_written_in_lower_case() {
    let mut id = [0xab; 16];
    id[15] = 0x0f;
    assert_eq!(&hex(&id), b"ababababababababababababababab0f");
}
