//! Real MariaDB, Redis, nginx and HAProxy servers for tests, each on its own port and with its own
//! temporary directory.

mod balancer;
mod client;
mod client_pause;
mod guard;
mod mariadb;
mod redis;
mod row_lock;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

pub use balancer::Balancer;
pub use client_pause::ClientPause;
pub use guard::{GuardedProcess, ProcessState};
pub use mariadb::{Administrator, MariaDb};
pub use redis::Redis;
pub use row_lock::RowLock;

/// Returns a loopback address on which no process listens at the moment. Another process may bind
/// the address first; the caller then has to retry with another one.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Maximum number of attempts to start a service, each on another port.
const MAX_ATTEMPTS: u32 = 3;

/// Starts a service with `start`, which gets a free loopback address. If that fails, retries with
/// another address, and returns the error of the last attempt.
fn on_free_port<T>(mut start: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut attempt = 1;
    loop {
        match start(free_address()?) {
            Err(_) if attempt < MAX_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}
