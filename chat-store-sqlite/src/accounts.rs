//! Accounts and devices.

use async_trait::async_trait;
use chat_core::model::{Account, Device, DeviceId, UserId};
use chat_core::store::sql_support::{
    ACCOUNT_COLUMNS, Code, DEVICE_COLUMNS, NEW_DEVICE_COLUMNS, distinct, int, prefix_end, unknown_account,
};
use chat_core::store::{AccountStore, AccountTx, NewAccount, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::rows;
use crate::tx::SqliteTx;

fn account(conn: &Connection, id: UserId) -> rusqlite::Result<Option<Account>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE id = ?1"))?;
    statement.query_row([int(id.0)], rows::account).optional()
}

fn account_by_name(conn: &Connection, name: &str) -> rusqlite::Result<Option<Account>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE name = ?1"))?;
    statement.query_row([name], rows::account).optional()
}

fn account_by_subject(conn: &Connection, subject: &str) -> rusqlite::Result<Option<Account>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE subject = ?1"))?;
    statement.query_row([subject], rows::account).optional()
}

fn device(conn: &Connection, user: UserId, id: DeviceId) -> rusqlite::Result<Option<Device>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {DEVICE_COLUMNS} FROM device WHERE user_id = ?1 AND id = ?2"
    ))?;
    statement.query_row(params![int(user.0), id.0], rows::device).optional()
}

fn devices_of(conn: &Connection, user: UserId) -> rusqlite::Result<Vec<Device>> {
    let sql = format!("SELECT {DEVICE_COLUMNS} FROM device WHERE user_id = ?1 ORDER BY created, id");
    conn.prepare_cached(&sql)?
        .query_map([int(user.0)], rows::device)?
        .collect()
}

fn search_accounts(conn: &Connection, prefix: &str, limit: u32) -> rusqlite::Result<Vec<Account>> {
    let sql = format!(
        "SELECT {ACCOUNT_COLUMNS} FROM account
         WHERE name >= ?1 AND (?2 IS NULL OR name < ?2) AND NOT disabled ORDER BY name LIMIT ?3"
    );
    let range = params![prefix, prefix_end(prefix), limit];
    conn.prepare_cached(&sql)?.query_map(range, rows::account)?.collect()
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.readers.read(move |conn| account(conn, id)).await
    }

    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let name = name.to_owned();
        self.readers.read(move |conn| account_by_name(conn, &name)).await
    }

    async fn account_by_subject(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        let subject = subject.to_owned();
        self.readers.read(move |conn| account_by_subject(conn, &subject)).await
    }

    async fn accounts(&self, ids: &[UserId]) -> Result<Vec<Account>, StoreError> {
        let ids = distinct(ids);
        let query = move |conn: &Connection| rows::find_each(ids, |id| account(conn, id));
        self.readers.read(query).await
    }

    async fn search_accounts(&self, prefix: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        let prefix = prefix.to_owned();
        self.readers
            .read(move |conn| search_accounts(conn, &prefix, limit))
            .await
    }

    async fn device(&self, user: UserId, id: DeviceId) -> Result<Option<Device>, StoreError> {
        self.readers.read(move |conn| device(conn, user, id)).await
    }

    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.readers.read(move |conn| devices_of(conn, user)).await
    }

    async fn devices_in(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        let keys = distinct(devices);
        let find = move |conn: &Connection| rows::find_each(keys, |(user, id)| device(conn, user, id));
        self.readers.read(find).await
    }
}

#[async_trait]
impl AccountTx for SqliteTx<'_> {
    async fn create_account(&mut self, new: NewAccount) -> Result<Option<UserId>, StoreError> {
        let sql = "INSERT INTO account (name, skeleton, display_name, password_hash, direct_policy, disabled, created,
                                        subject)
                   VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7) ON CONFLICT DO NOTHING RETURNING id";
        let values = params![
            new.name,
            new.skeleton,
            new.display_name,
            new.password_hash,
            new.direct_policy.code(),
            new.created.0,
            new.subject
        ];
        let id = |conn: &Connection| {
            let mut statement = conn.prepare_cached(sql)?;
            statement.query_row(values, |row| row.get(0)).optional()
        };
        let id: Option<i64> = self.query(id)?;
        Ok(id.map(|id| UserId(id.unsigned_abs())))
    }

    async fn account(&mut self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.query(|conn| account(conn, id))
    }

    async fn account_by_name(&mut self, name: &str) -> Result<Option<Account>, StoreError> {
        self.query(|conn| account_by_name(conn, name))
    }

    async fn account_by_subject(&mut self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.query(|conn| account_by_subject(conn, subject))
    }

    async fn update_account(&mut self, account: &Account) -> Result<(), StoreError> {
        let sql = "UPDATE account SET display_name = ?2, password_hash = ?3, direct_policy = ?4, disabled = ?5,
                       deleted = ?6
                   WHERE id = ?1";
        let values = params![
            int(account.id.0),
            account.display_name,
            account.password_hash,
            account.direct_policy.code(),
            account.disabled,
            account.deleted.map(|time| time.0)
        ];
        if self.execute(sql, values)? == 0 {
            return Err(unknown_account(account.id));
        }
        Ok(())
    }

    async fn rename_account(&mut self, id: UserId, name: &str, skeleton: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM account WHERE name = ?2 AND id <> ?1)
                       OR EXISTS (SELECT 1 FROM account WHERE skeleton = ?3 AND id <> ?1)";
        let values = params![int(id.0), name, skeleton];
        if self.query(|conn| conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)))? {
            return Ok(false);
        }
        let sql = "UPDATE account SET name = ?2, skeleton = ?3 WHERE id = ?1";
        match self.execute(sql, values)? {
            0 => Err(unknown_account(id)),
            _ => Ok(true),
        }
    }

    async fn set_subject(&mut self, id: UserId, subject: Option<&str>) -> Result<bool, StoreError> {
        let holder = match subject {
            Some(subject) => self.query(|conn| account_by_subject(conn, subject))?,
            None => None,
        };
        if holder.is_some_and(|holder| holder.id != id) {
            return Ok(false);
        }
        let sql = "UPDATE account SET subject = ?2 WHERE id = ?1";
        match self.execute(sql, params![int(id.0), subject])? {
            0 => Err(unknown_account(id)),
            _ => Ok(true),
        }
    }

    async fn lock_device(&mut self, user: UserId, id: DeviceId) -> Result<Option<Device>, StoreError> {
        self.contract.before_lock_devices()?;
        self.query(|conn| device(conn, user, id))
    }

    async fn devices_in(&mut self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        self.query(|conn| rows::find_each(distinct(devices), |(user, id)| device(conn, user, id)))
    }

    async fn lock_devices_of(&mut self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.contract.before_lock_devices()?;
        self.query(|conn| devices_of(conn, user))
    }

    async fn put_device(&mut self, device: &Device) -> Result<(), StoreError> {
        let sql =
            format!("INSERT OR REPLACE INTO device ({NEW_DEVICE_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
        let values = params![
            int(device.user.0),
            device.id.0,
            device.name,
            int(device.session_epoch.0),
            device.session_token,
            device.device_token,
            device.created.0,
            device.last_login.0,
            device.session_expires.map(|time| time.0)
        ];
        self.execute(&sql, values)?;
        let (Some(token), Some(issued)) = (device.session_token, device.token_issued) else {
            return self.delete_session_token(device.user, device.id);
        };
        let sql = "INSERT OR REPLACE INTO session_token (user_id, device_id, token, issued, replaced, sibling) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (replaced, sibling) = (device.replaced_token, device.sibling_token);
        let values = params![int(device.user.0), device.id.0, token, issued.0, replaced, sibling];
        self.execute(sql, values).map(drop)
    }

    async fn delete_device(&mut self, user: UserId, id: DeviceId) -> Result<(), StoreError> {
        let key = params![int(user.0), id.0];
        self.execute("DELETE FROM device WHERE user_id = ?1 AND id = ?2", key)?;
        self.execute("DELETE FROM device_cursor WHERE user_id = ?1 AND device_id = ?2", key)?;
        self.delete_session_token(user, id)
    }
}

impl SqliteTx<'_> {
    fn delete_session_token(&mut self, user: UserId, device: DeviceId) -> Result<(), StoreError> {
        let sql = "DELETE FROM session_token WHERE user_id = ?1 AND device_id = ?2";
        self.execute(sql, params![int(user.0), device.0]).map(drop)
    }
}
