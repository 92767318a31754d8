//! [`ColumnReader`]: the columns of one row, independent of the database driver.

use super::Code;
use crate::model::{Seq, Timestamp, UserId};

/// Reader of the columns of one row, in order.
pub trait ColumnReader {
    /// Type of the driver's or the store's errors.
    type Error;

    /// Reads the next column as a signed integer.
    fn integer(&mut self) -> Result<i64, Self::Error>;

    /// Reads the next column as text.
    fn text(&mut self) -> Result<String, Self::Error>;

    /// Reads the next column as bytes.
    fn bytes(&mut self) -> Result<Vec<u8>, Self::Error>;

    /// Reads the next column as exactly `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Self::Error>;

    /// Returns whether the next column is NULL, without advancing.
    fn is_null(&self) -> Result<bool, Self::Error>;

    /// Advances by this number of columns.
    fn skip(&mut self, columns: usize);

    /// Returns the error for an invalid value in the column that was read last. The error must not
    /// contain the value, which may be a user's text.
    fn out_of_range(&self) -> Self::Error;

    /// Reads the next column with `read`, or returns `None` if it is NULL.
    fn nullable<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Self::Error>) -> Result<Option<T>, Self::Error>
    where
        Self: Sized,
    {
        if self.is_null()? {
            self.skip(1);
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Reads the next column as a number that is not negative.
    fn unsigned(&mut self) -> Result<u64, Self::Error> {
        let value = self.integer()?;
        u64::try_from(value).map_err(|_| self.out_of_range())
    }

    /// Reads the next column as a 32-bit count.
    fn count(&mut self) -> Result<u32, Self::Error> {
        let value = self.integer()?;
        u32::try_from(value).map_err(|_| self.out_of_range())
    }

    /// Reads the next column as a boolean: every number but 0 is `true`.
    fn flag(&mut self) -> Result<bool, Self::Error> {
        Ok(self.integer()? != 0)
    }

    /// Reads the next column as a sequence number.
    fn seq(&mut self) -> Result<Seq, Self::Error> {
        self.unsigned().map(Seq)
    }

    /// Reads the next column as the id of a user.
    fn user(&mut self) -> Result<UserId, Self::Error> {
        self.unsigned().map(UserId)
    }

    /// Reads the next column as a time in milliseconds since 1970.
    fn time(&mut self) -> Result<Timestamp, Self::Error> {
        self.integer().map(Timestamp)
    }

    /// Reads the next column as the numeric code of a `T`.
    fn code<T: Code>(&mut self) -> Result<T, Self::Error> {
        let code = self.integer()?;
        T::from_code(code).ok_or_else(|| self.out_of_range())
    }
}
