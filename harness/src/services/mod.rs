//! Real MariaDB, Redis, nginx and HAProxy servers for tests, each on its own port and with its own
//! temporary directory.

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
/// the address first; the caller then has to retry with another one.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Maximum number of attempts to start a service, each on another port.
const MAX_ATTEMPTS: u32 = 3;

/// Starts a service with `start`, which gets a free loopback address. Retries if that fails.
fn on_free_port<T>(mut start: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut attempt = 1;
    loop {
        match start(free_address()?) {
            Err(_) if attempt < MAX_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}
