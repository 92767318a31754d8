//! Sockets and in-process pipes, as streams of bytes.
