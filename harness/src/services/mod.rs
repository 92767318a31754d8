//! Real servers for tests: MariaDB, Redis, nginx and HAProxy, each with its own directory and port.

mod balancer;
mod client;
mod guard;
mod lock;
mod mariadb;
mod pause;
mod redis;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

pub use balancer::Balancer;
pub use guard::{GuardedProcess, State};
pub use lock::Lock;
pub use mariadb::{Administrator, MariaDb};
pub use pause::Pause;
pub use redis::Redis;

/// Returns a loopback address on which no process listens at the moment. Another process may bind
/// the address before the caller does, which then has to retry with another address.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Maximum number of attempts to start a service, each on another port.
const MAX_ATTEMPTS: u32 = 3;

/// Starts a service on a free port.
fn on_free_port<T>(mut start: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut attempt = 1;
    loop {
        match start(free_address()?) {
            Err(_) if attempt < MAX_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}
