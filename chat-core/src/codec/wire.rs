//! Hand-written protobuf encoding of what servers send most (pushed events, pages of history and
//! replies to sends), where building a generated message would cost copies.
//!
//! [`Encode::put_fields`] lists the fields of a message once, for two passes: the first computes
//! their length, and the second writes them into memory that was reserved for that length. The
//! generated code calls the same functions of `prost::encoding`.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Destination of the fields of a message: a byte count, or the bytes themselves.
pub(super) trait FieldSink {
    /// Adds an integer. Omits 0, as proto3 does.
    fn integer(&mut self, tag: u32, value: u64);
    /// Adds bytes, even if they are empty, unlike [`text`](Self::text).
    fn bytes(&mut self, tag: u32, value: &[u8]);
    /// Adds the key and length of a message whose fields follow.
    fn message(&mut self, tag: u32, length: usize);
    /// Adds fields that are already encoded.
    fn encoded(&mut self, fields: &[u8]);

    /// Adds a packed list of integers, zeros included. Omits an empty list.
    fn packed(&mut self, tag: u32, values: impl Iterator<Item = u64> + Clone);

    /// Adds a flag. Omits `false`.
    fn flag(&mut self, tag: u32, value: bool) {
        self.integer(tag, u64::from(value));
    }

    /// Adds the bytes of a string. Omits an empty string, as proto3 does.
    fn text(&mut self, tag: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes(tag, value);
        }
    }

    /// Adds an integer that may be negative. Omits 0.
    fn signed(&mut self, tag: u32, value: i64) {
        self.integer(tag, value.cast_unsigned());
    }
}

/// Counter of the bytes that fields take.
#[derive(Debug, Default)]
struct Measure(usize);

impl Measure {
    fn add(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }
}

impl FieldSink for Measure {
    fn integer(&mut self, tag: u32, value: u64) {
        if value != 0 {
            self.add(key_len(tag));
            self.add(encoded_len_varint(value));
        }
    }

    fn bytes(&mut self, tag: u32, value: &[u8]) {
        self.message(tag, value.len());
        self.add(value.len());
    }

    fn message(&mut self, tag: u32, length: usize) {
        self.add(key_len(tag));
        self.add(encoded_len_varint(length as u64));
    }

    fn encoded(&mut self, fields: &[u8]) {
        self.add(fields.len());
    }

    fn packed(&mut self, tag: u32, values: impl Iterator<Item = u64> + Clone) {
        let length = packed_len(values);
        if length != 0 {
            self.message(tag, length);
            self.add(length);
        }
    }
}

impl FieldSink for BytesMut {
    fn integer(&mut self, tag: u32, value: u64) {
        if value != 0 {
            encode_key(tag, WireType::Varint, self);
            encode_varint(value, self);
        }
    }

    fn bytes(&mut self, tag: u32, value: &[u8]) {
        self.message(tag, value.len());
        self.put_slice(value);
    }

    fn message(&mut self, tag: u32, length: usize) {
        encode_key(tag, WireType::LengthDelimited, self);
        encode_varint(length as u64, self);
    }

    fn encoded(&mut self, fields: &[u8]) {
        self.put_slice(fields);
    }

    fn packed(&mut self, tag: u32, values: impl Iterator<Item = u64> + Clone) {
        let length = packed_len(values.clone());
        if length != 0 {
            self.message(tag, length);
            values.for_each(|value| encode_varint(value, self));
        }
    }
}

fn packed_len(values: impl Iterator<Item = u64>) -> usize {
    values.map(encoded_len_varint).fold(0, usize::saturating_add)
}

/// Message whose fields are written by hand.
pub(super) trait Encode {
    /// Passes the fields to `out`, in the order of their tags.
    fn put_fields(&self, out: &mut impl FieldSink);

    /// Returns the encoded length of the fields, in bytes.
    fn len(&self) -> usize {
        let mut size = Measure::default();
        self.put_fields(&mut size);
        size.0
    }
}

/// Returns the number of bytes that a message of `length` bytes takes as field `tag`, with the
/// field's key and length.
pub(super) fn message_len(tag: u32, length: usize) -> usize {
    key_len(tag)
        .saturating_add(encoded_len_varint(length as u64))
        .saturating_add(length)
}
