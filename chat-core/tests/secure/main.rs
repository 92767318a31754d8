//! Black-box tests of the secure channel: against `snow`, an independent implementation of Noise,
//! and against misbehaving peers. A further test checks that no crate of this workspace decrypts
//! with RSA.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers here as tests")]

mod hostile_client;
mod hostile_records;
mod hostile_server;
mod interop;
mod peer;
mod rsa_use;
