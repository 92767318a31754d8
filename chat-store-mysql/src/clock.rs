//! The clock of the database.

/// SQL expression of the database's time in milliseconds since 1970, independent of its time zone.
pub(crate) const NOW: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000";
