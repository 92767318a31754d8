//! Many values in one statement. Only numbers and bytes that we wrote ourselves are put into a statement's text.

use std::fmt::Write;

/// Keys looked up by one statement.
pub(crate) const KEYS_AT_ONCE: usize = 500;

/// `1,2,3`.
pub(crate) fn integers(values: impl IntoIterator<Item = i64>) -> String {
    let mut text = String::new();
    for value in values {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{value}").expect("a string takes everything");
    }
    text
}

/// `x'00ff'`: a string of these bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len() + 3);
    text.push_str("x'");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text.push('\'');
    text
}

/// The parts, joined: ` OR `, `,`, ` UNION ALL `.
pub(crate) fn joined(parts: impl IntoIterator<Item = String>, between: &str) -> String {
    parts.into_iter().collect::<Vec<_>>().join(between)
}

/// `(?,?),(?,?)`: places for this many rows of so many values.
pub(crate) fn places(rows: usize, values: usize) -> String {
    let row = format!("({})", vec!["?"; values].join(","));
    vec![row; rows].join(",")
}

/// How many of `left` rows to insert by one statement: few sizes, so that their texts stay prepared.
pub(crate) fn chunk(left: usize) -> usize {
    [128, 32, 8, 2].into_iter().find(|size| *size <= left).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(integers([1, -2, 3]), "1,-2,3");
        assert_eq!(integers([]), "");
        assert_eq!(hex(&[0, 255, b'\'']), "x'00ff27'");
        assert_eq!(places(2, 3), "(?,?,?),(?,?,?)");
        assert_eq!(
            [0, 1, 2, 7, 8, 127, 128, 1000].map(chunk),
            [1, 1, 2, 2, 8, 32, 128, 128]
        );
    }
}
