//! The secure channel SC1: bytes to plaintext records and back, without I/O.
