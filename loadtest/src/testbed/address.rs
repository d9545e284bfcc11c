//! Loopback addresses: all of 127.0.0.0/8 is this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use super::TestbedError;

/// An address that no other part of this process has been given, and hardly any other process.
pub fn unique() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    // 127.64.0.0/10 in 1024 blocks of 4096 addresses, one block for each process id.
    let block = std::process::id() % 1024;
    Ipv4Addr::from(0x7f40_0000 | block << 12 | (count + 1) & 0xfff)
}

/// Makes sure that nothing listens on `address` yet.
///
/// # Errors
/// With the address and what may be done about it.
pub fn ensure_free(address: SocketAddr) -> Result<(), TestbedError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(TestbedError::new(format!("{address} is in use: is another run still going on?")))
        }
        Err(error) => Err(TestbedError::new(format!("cannot listen on {address}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_and_are_of_this_machine() {
        let (first, second) = (unique(), unique());
        assert_ne!(first, second);
        assert!(first.is_loopback() && second.is_loopback());
    }

    #[test]
    fn an_address_in_use_is_named() {
        let listener = TcpListener::bind((unique(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let error = ensure_free(address).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{address} is in use")), "{error}");
        drop(listener);
        ensure_free(address).unwrap();
    }
}
