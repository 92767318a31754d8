//! Statements with many values. Values that stand in the text of a statement are numbers or the
//! literals of [`hex`], so no text of a user can change a statement.

use std::fmt::Write;

/// Maximum number of keys in one statement, which bounds the size of its text.
pub(crate) const MAX_KEYS_PER_STATEMENT: usize = 500;

/// Formats numbers as `1,2,3`.
pub(crate) fn integers(values: impl IntoIterator<Item = i64>) -> String {
    let mut text = String::new();
    for value in values {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{value}").expect("writing to a string cannot fail");
    }
    text
}

/// Formats bytes as the literal `x'00ff'`.
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

/// Joins the parts with a separator such as ` OR `, `,` or ` UNION ALL `.
pub(crate) fn joined(parts: impl IntoIterator<Item = String>, separator: &str) -> String {
    parts.into_iter().collect::<Vec<_>>().join(separator)
}

/// Returns the placeholders of `rows` rows with `values` values each, such as `(?,?),(?,?)`.
pub(crate) fn placeholders(rows: usize, values: usize) -> String {
    let row = format!("({})", vec!["?"; values].join(","));
    vec![row; rows].join(",")
}

/// Returns how many of `left` rows the next INSERT takes; at least 1. The result has few different
/// values, so that the prepared statements are reused.
pub(crate) fn insert_size(left: usize) -> usize {
    [128, 32, 8, 2].into_iter().find(|size| *size <= left).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_formatted_as_sql() {
        assert_eq!(integers([1, -2, 3]), "1,-2,3");
        assert_eq!(integers([]), "");
        assert_eq!(hex(&[0, 255, b'\'']), "x'00ff27'");
        assert_eq!(placeholders(2, 3), "(?,?,?),(?,?,?)");
        assert_eq!(
            [0, 1, 2, 7, 8, 127, 128, 1000].map(insert_size),
            [1, 1, 2, 2, 8, 32, 128, 128]
        );
    }
}
