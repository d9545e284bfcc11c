//! Which backends there are, and which of them owns a key.
