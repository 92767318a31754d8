//! Accounts and devices.

use async_trait::async_trait;
use chat_core::model::{Account, Device, DeviceId, UserId};
use chat_core::store::sql_support::{
    self as sql, ACCOUNT_COLUMNS, Code, DEVICE_COLUMNS, NEW_DEVICE_COLUMNS, distinct, int, prefix_end, unknown_account,
};
use chat_core::store::{AccountStore, AccountTx, NewAccount, StoreError};
use mysql_async::Params;
use mysql_async::prelude::Queryable;

use crate::MysqlStore;
use crate::batch::{MAX_KEYS_PER_STATEMENT, hex, integers, joined};
use crate::error::store_error;
use crate::rows;
use crate::tx::MysqlTx;

fn account_by_id_sql() -> String {
    format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE id = ?")
}

fn account_by_subject_sql() -> String {
    format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE subject = ?")
}

fn account_by_name_sql() -> String {
    format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE name = ?")
}

fn device_sql() -> String {
    format!("SELECT {DEVICE_COLUMNS} FROM device WHERE user_id = ? AND id = ?")
}

fn devices_sql() -> String {
    format!("SELECT {DEVICE_COLUMNS} FROM device WHERE user_id = ? ORDER BY created, id")
}

#[async_trait]
impl AccountStore for MysqlStore {
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row = conn
                .exec_first(account_by_id_sql(), (int(id.0),))
                .await
                .map_err(store_error)?;
            rows::one(row, sql::account)
        };
        self.connections.with_deadline(work).await
    }

    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row = conn
                .exec_first(account_by_name_sql(), (name.as_bytes(),))
                .await
                .map_err(store_error)?;
            rows::one(row, sql::account)
        };
        self.connections.with_deadline(work).await
    }

    async fn account_by_subject(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row = conn.exec_first(account_by_subject_sql(), (subject.as_bytes(),)).await;
            rows::one(row.map_err(store_error)?, sql::account)
        };
        self.connections.with_deadline(work).await
    }

    async fn accounts(&self, ids: &[UserId]) -> Result<Vec<Account>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let mut found = Vec::new();
            for ids in distinct(ids).chunks(MAX_KEYS_PER_STATEMENT) {
                let ids = integers(ids.iter().map(|id| int(id.0)));
                let sql = format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE id IN ({ids})");
                found.extend(rows::all(conn.query(sql).await.map_err(store_error)?, sql::account)?);
            }
            Ok(found)
        };
        self.connections.with_deadline(work).await
    }

    async fn search_accounts(&self, prefix: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        let sql = format!(
            "SELECT {ACCOUNT_COLUMNS} FROM account
             WHERE name >= ? AND (? IS NULL OR name < ?) AND NOT disabled ORDER BY name LIMIT ?"
        );
        let end = prefix_end(prefix);
        let work = async {
            let mut conn = self.connections.reader().await?;
            let range = (prefix.as_bytes(), end.as_deref(), end.as_deref(), limit);
            rows::all(conn.exec(sql, range).await.map_err(store_error)?, sql::account)
        };
        self.connections.with_deadline(work).await
    }

    async fn device(&self, user: UserId, id: DeviceId) -> Result<Option<Device>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let key = (int(user.0), &id.0[..]);
            rows::one(
                conn.exec_first(device_sql(), key).await.map_err(store_error)?,
                sql::device,
            )
        };
        self.connections.with_deadline(work).await
    }

    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let found = conn.exec(devices_sql(), (int(user.0),)).await.map_err(store_error)?;
            rows::all(found, sql::device)
        };
        self.connections.with_deadline(work).await
    }

    async fn devices_in(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let mut found = Vec::new();
            for devices in distinct(devices).chunks(MAX_KEYS_PER_STATEMENT) {
                let rows = conn.query(devices_in_sql(devices)).await.map_err(store_error)?;
                found.extend(rows::all(rows, sql::device)?);
            }
            Ok(found)
        };
        self.connections.with_deadline(work).await
    }
}

/// Returns the query for the devices with these keys.
fn devices_in_sql(devices: &[(UserId, DeviceId)]) -> String {
    let key = |(user, id): &(UserId, DeviceId)| format!("(user_id = {} AND id = {})", int(user.0), hex(&id.0));
    let keys = joined(devices.iter().map(key), " OR ");
    format!("SELECT {DEVICE_COLUMNS} FROM device WHERE {keys}")
}

impl MysqlTx<'_> {
    /// Runs `sql`, an UPDATE that gives account `id` values that must be unique. Returns `false` if
    /// another account has one of those values. Fails if there is no account `id`.
    async fn update_unique(
        &mut self,
        id: UserId,
        sql: &str,
        values: impl Into<Params> + Send,
    ) -> Result<bool, StoreError> {
        match self.execute_unique(sql, values).await? {
            Some(0) => Err(unknown_account(id)),
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// Locks all devices that the user has or will have: locks the user's row in `user_lock`, and
    /// creates the row if it is missing.
    async fn lock_user(&mut self, user: UserId) -> Result<(), StoreError> {
        self.contract.before_lock_devices()?;
        let sql = "INSERT INTO user_lock (user_id) VALUES (?) ON DUPLICATE KEY UPDATE user_id = VALUES(user_id)";
        self.execute(sql, (int(user.0),)).await.map(drop)
    }
}

#[async_trait]
impl AccountTx for MysqlTx<'_> {
    async fn create_account(&mut self, new: NewAccount) -> Result<Option<UserId>, StoreError> {
        let sql = "INSERT INTO account (name, skeleton, display_name, password_hash, direct_policy, disabled, created,
                                        subject)
                   VALUES (?, ?, ?, ?, ?, FALSE, ?, ?)";
        let values = (
            new.name.into_bytes(),
            new.skeleton.into_bytes(),
            new.display_name,
            new.password_hash,
            new.direct_policy.code(),
            new.created.0,
            new.subject.map(String::into_bytes),
        );
        Ok(self.insert(sql, values).await?.map(UserId))
    }

    async fn account(&mut self, id: UserId) -> Result<Option<Account>, StoreError> {
        rows::one(self.first(&account_by_id_sql(), (int(id.0),)).await?, sql::account)
    }

    async fn account_by_name(&mut self, name: &str) -> Result<Option<Account>, StoreError> {
        rows::one(
            self.first(&account_by_name_sql(), (name.as_bytes(),)).await?,
            sql::account,
        )
    }

    async fn account_by_subject(&mut self, subject: &str) -> Result<Option<Account>, StoreError> {
        rows::one(
            self.first(&account_by_subject_sql(), (subject.as_bytes(),)).await?,
            sql::account,
        )
    }

    async fn update_account(&mut self, account: &Account) -> Result<(), StoreError> {
        let sql = "UPDATE account SET display_name = ?, password_hash = ?, direct_policy = ?, disabled = ?, deleted = ?
                   WHERE id = ?";
        let values = (
            &account.display_name,
            account.password_hash.as_ref(),
            account.direct_policy.code(),
            account.disabled,
            account.deleted.map(|time| time.0),
            int(account.id.0),
        );
        if self.execute(sql, values).await? == 0 {
            return Err(unknown_account(account.id));
        }
        Ok(())
    }

    async fn rename_account(&mut self, id: UserId, name: &str, skeleton: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE account SET name = ?, skeleton = ? WHERE id = ?";
        let values = (name.as_bytes(), skeleton.as_bytes(), int(id.0));
        self.update_unique(id, sql, values).await
    }

    async fn set_subject(&mut self, id: UserId, subject: Option<&str>) -> Result<bool, StoreError> {
        let sql = "UPDATE account SET subject = ? WHERE id = ?";
        self.update_unique(id, sql, (subject.map(str::as_bytes), int(id.0)))
            .await
    }

    async fn lock_device(&mut self, user: UserId, id: DeviceId) -> Result<Option<Device>, StoreError> {
        self.lock_user(user).await?;
        let row = self.first(&device_sql(), (int(user.0), &id.0[..])).await?;
        rows::one(row, sql::device)
    }

    async fn devices_in(&mut self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        if let [(user, id)] = devices {
            // The append of a single message looks up one device. This case is frequent, so it
            // uses a prepared statement.
            return rows::all(self.rows(&device_sql(), (int(user.0), &id.0[..])).await?, sql::device);
        }
        let mut found = Vec::new();
        for devices in distinct(devices).chunks(MAX_KEYS_PER_STATEMENT) {
            let rows = self.query_unprepared(devices_in_sql(devices)).await?;
            found.extend(rows::all(rows, sql::device)?);
        }
        Ok(found)
    }

    async fn lock_devices_of(&mut self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.lock_user(user).await?;
        rows::all(self.rows(&devices_sql(), (int(user.0),)).await?, sql::device)
    }

    async fn put_device(&mut self, device: &Device) -> Result<(), StoreError> {
        let sql = format!("REPLACE INTO device ({NEW_DEVICE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
        let values = (
            int(device.user.0),
            &device.id.0[..],
            &device.name,
            int(device.session_epoch.0),
            device.session_token.as_ref().map(|token| &token[..]),
            device.device_token.as_ref().map(|token| &token[..]),
            device.created.0,
            device.last_login.0,
            device.session_expires.map(|time| time.0),
        );
        self.execute(&sql, values).await?;
        self.changed_users.insert(device.user);
        let (Some(token), Some(issued)) = (&device.session_token, device.token_issued) else {
            return self.delete_session_token(device.user, device.id).await;
        };
        let sql = "REPLACE INTO session_token (user_id, device_id, token, issued, replaced, sibling) \
                   VALUES (?, ?, ?, ?, ?, ?)";
        let values = (
            int(device.user.0),
            &device.id.0[..],
            &token[..],
            issued.0,
            device.replaced_token.as_ref().map(|token| &token[..]),
            device.sibling_token.as_ref().map(|token| &token[..]),
        );
        self.execute(sql, values).await.map(drop)
    }

    async fn delete_device(&mut self, user: UserId, id: DeviceId) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM device WHERE user_id = ? AND id = ?",
            "DELETE FROM device_cursor WHERE user_id = ? AND device_id = ?",
        ] {
            let key: Params = (int(user.0), &id.0[..]).into();
            self.execute(sql, key).await?;
        }
        self.changed_users.insert(user);
        self.delete_session_token(user, id).await
    }
}

impl MysqlTx<'_> {
    async fn delete_session_token(&mut self, user: UserId, device: DeviceId) -> Result<(), StoreError> {
        let sql = "DELETE FROM session_token WHERE user_id = ? AND device_id = ?";
        let key: Params = (int(user.0), &device.0[..]).into();
        self.execute(sql, key).await.map(drop)
    }
}
