//! Loopback addresses: all of 127.0.0.0/8 is this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::TestbedError;

/// 127.64.0.0/10 in blocks of 4096 addresses, one for each process.
const BLOCKS: u32 = 1024;
/// Who listens here at the first address of a block has the block.
const CLAIM: u16 = 4316;

/// An address that no other part of this process has been given, and no other process that asks here.
pub fn unique() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static BLOCK: LazyLock<(u32, Option<TcpListener>)> = LazyLock::new(|| {
        let own = std::process::id();
        let mut blocks = (own..own + BLOCKS).map(|number| number % BLOCKS);
        let claimed = blocks.find_map(|block| {
            let listener = TcpListener::bind((address(block, 0), CLAIM)).ok()?;
            Some((block, Some(listener)))
        });
        claimed.unwrap_or((own % BLOCKS, None))
    });
    address(BLOCK.0, NEXT.fetch_add(1, Ordering::Relaxed) + 1)
}

fn address(block: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f40_0000 | block << 12 | number & 0xfff)
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
