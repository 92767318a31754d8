//! Protobuf fields written by hand, where building a message first would cost copies: the hot path.
//!
//! One listing of fields serves two passes: measuring, then writing into memory of exactly that size. The functions of
//! `prost::encoding` are the ones that prost's generated code calls.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Where fields go.
pub(super) trait Fields {
    /// An integer; left out when 0, as proto3 does.
    fn integer(&mut self, tag: u32, value: u64);
    /// Bytes, also when there are none.
    fn bytes(&mut self, tag: u32, value: &[u8]);
    /// The key and length of a message whose fields follow.
    fn message(&mut self, tag: u32, length: usize);
    /// Fields that are encoded already.
    fn encoded(&mut self, fields: &[u8]);

    /// Integers of any value, packed; left out when there are none.
    fn packed(&mut self, tag: u32, values: impl Iterator<Item = u64> + Clone);

    /// A flag; left out when false.
    fn flag(&mut self, tag: u32, value: bool) {
        self.integer(tag, u64::from(value));
    }

    /// Bytes; left out when there are none.
    fn text(&mut self, tag: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes(tag, value);
        }
    }

    /// A number that may be negative.
    fn signed(&mut self, tag: u32, value: i64) {
        self.integer(tag, value.cast_unsigned());
    }
}

/// Counts.
#[derive(Debug, Default)]
struct Measure(usize);

impl Measure {
    fn add(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }
}

impl Fields for Measure {
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

impl Fields for BytesMut {
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

/// A message whose fields are written by hand.
pub(super) trait Encode {
    /// Its fields, in order of their tags.
    fn fields(&self, out: &mut impl Fields);

    /// Bytes they take.
    fn len(&self) -> usize {
        let mut size = Measure::default();
        self.fields(&mut size);
        size.0
    }
}

/// Bytes that a message of `length` bytes takes as field `tag`.
pub(super) fn message_len(tag: u32, length: usize) -> usize {
    key_len(tag)
        .saturating_add(encoded_len_varint(length as u64))
        .saturating_add(length)
}
