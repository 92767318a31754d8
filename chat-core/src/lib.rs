//! An embeddable chat engine.

pub mod auth;
pub mod model;
pub mod secure;
pub mod transport;
