//! The doors for clients: HTTP and DNS.

pub mod dns;
pub mod http;

use std::io;
use std::net::SocketAddr;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{key} is {address}, which cannot be listened on ({cause}): {remedy}")]
pub struct ListenError {
    /// The configuration key of the port.
    key: &'static str,
    /// The address.
    address: SocketAddr,
    /// What the system said.
    cause: io::Error,
    /// What to do.
    remedy: String,
}

impl ListenError {
    fn new(key: &'static str, flag: &str, address: SocketAddr, cause: io::Error) -> ListenError {
        let remedy = match cause.kind() {
            io::ErrorKind::AddrInUse => format!("stop the program that holds the port, or choose another with {flag}"),
            io::ErrorKind::AddrNotAvailable => {
                "no interface of this host has that address; set -client to one it has".to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 need privileges; choose another with {flag}, or forward to it")
            }
            _ => format!("choose another with {flag}"),
        };
        ListenError { key, address, cause, remedy }
    }
}
