//! Hexadecimal text of ids, for the keys and values in Redis.

/// Returns an id as 32 lower-case hexadecimal digits.
pub(crate) fn encode(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// Parses the output of [`encode`]; returns `None` for any other text.
pub(crate) fn decode(text: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(text).ok()?;
    let is_encoded = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = is_encoded.then(|| u128::from_str_radix(text, 16).ok())?;
    number.map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_accepts_only_encoded_ids() {
        for id in [[0; 16], [0xff; 16], std::array::from_fn(|n| n as u8)] {
            assert_eq!(decode(encode(&id).as_bytes()), Some(id));
        }
        let long = "0".repeat(33);
        for text in [
            "",
            "0",
            "+0000000000000000000000000000000",
            "0000000000000000000000000000000G",
            &long,
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(decode(&[0xff; 32]), None);
    }
}
