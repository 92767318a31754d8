-- Names, keys and skeletons are bytes (VARBINARY): no collation equates two of them, and trailing
-- spaces count. Names that look alike have the same skeleton. Times are milliseconds since 1970.
-- chat_core::store::sql_support defines the integer codes. Tables and columns have the same names
-- as in the SQLite store.
-- Every statement may run again: a server that dies between two statements has executed the first.

CREATE TABLE IF NOT EXISTS meta (
    name  VARBINARY(64)  NOT NULL PRIMARY KEY,
    value VARBINARY(255) NOT NULL
) ENGINE = InnoDB;

-- Rows to lock: one for each user whose devices were ever locked, and one for each pair of users
-- whose contacts were ever locked. A missing row cannot be locked, so these rows represent devices
-- and contacts that do not exist yet.
CREATE TABLE IF NOT EXISTS user_lock (
    user_id BIGINT NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS pair_lock (
    low_id  BIGINT NOT NULL,
    high_id BIGINT NOT NULL,
    PRIMARY KEY (low_id, high_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS account (
    id            BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name          VARBINARY(256) NOT NULL UNIQUE,
    skeleton      VARBINARY(3000) NOT NULL UNIQUE,
    display_name  TEXT           NOT NULL,
    password_hash TEXT,
    direct_policy TINYINT        NOT NULL,
    disabled      BOOLEAN        NOT NULL,
    created       BIGINT         NOT NULL,
    subject       VARBINARY(255) UNIQUE, -- identifier by which the application knows the user
    deleted       BIGINT                 -- time of deletion
) ENGINE = InnoDB, CHARACTER SET utf8mb4, COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS device (
    user_id         BIGINT     NOT NULL,
    id              BINARY(16) NOT NULL,
    name            TEXT       NOT NULL,
    session_epoch   BIGINT     NOT NULL,
    session_token   BINARY(32),
    device_token    BINARY(32),
    created         BIGINT     NOT NULL,
    last_login      BIGINT     NOT NULL,
    session_expires BIGINT, -- time after which the session cannot be resumed
    PRIMARY KEY (user_id, id)
) ENGINE = InnoDB, CHARACTER SET utf8mb4, COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS contact (
    owner_id BIGINT  NOT NULL,
    peer_id  BIGINT  NOT NULL,
    state    TINYINT NOT NULL,
    blocked  BOOLEAN NOT NULL,
    note     TEXT    NOT NULL,
    since    BIGINT  NOT NULL,
    PRIMARY KEY (owner_id, peer_id),
    KEY contact_peer (peer_id)
) ENGINE = InnoDB, CHARACTER SET utf8mb4, COLLATE utf8mb4_bin;

-- A transaction locks the row to append to the conversation, and takes the next numbers from it.
CREATE TABLE IF NOT EXISTS conversation (
    id              BIGINT  NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind            TINYINT NOT NULL,
    low_id          BIGINT, -- direct: the smaller user id; inbox: the owner; group: NULL
    high_id         BIGINT, -- direct: the greater user id; inbox: the owner; group: NULL
    last_seq        BIGINT  NOT NULL,
    message_count   BIGINT  NOT NULL,
    members_version BIGINT  NOT NULL,
    last_time       BIGINT  NOT NULL,
    member_count    INT     NOT NULL,
    deleted          BOOLEAN NOT NULL,
    UNIQUE KEY conversation_kind (low_id, high_id, kind)
) ENGINE = InnoDB;

-- open_key and open_skeleton repeat name_key and skeleton until the group is deleted. They are NULL
-- from then on, so that another group may take its name.
CREATE TABLE IF NOT EXISTS group_profile (
    conversation_id BIGINT          NOT NULL PRIMARY KEY,
    name            VARBINARY(256)  NOT NULL, -- as its members write it
    name_key        VARBINARY(256)  NOT NULL, -- canonical spelling
    skeleton        VARBINARY(3000) NOT NULL,
    description     TEXT            NOT NULL,
    join_policy     TINYINT         NOT NULL,
    history_visible BOOLEAN         NOT NULL,
    unlisted        BOOLEAN         NOT NULL,
    open_key        VARBINARY(256),
    open_skeleton   VARBINARY(3000),
    UNIQUE KEY group_key (open_key),
    UNIQUE KEY group_skeleton (open_skeleton)
) ENGINE = InnoDB, CHARACTER SET utf8mb4, COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS member (
    conversation_id BIGINT  NOT NULL,
    user_id         BIGINT  NOT NULL,
    state           TINYINT NOT NULL,
    role            TINYINT NOT NULL,
    first_seq       BIGINT  NOT NULL,
    until_seq       BIGINT,
    muted_until     BIGINT  NOT NULL,
    delivered_seq   BIGINT  NOT NULL,
    read_seq        BIGINT  NOT NULL,
    has_sent        TINYINT NOT NULL, -- of direct conversations
    invited_by      BIGINT, -- of invited users: sender of the invitation in their inbox
    PRIMARY KEY (conversation_id, user_id),
    KEY member_user (user_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS event (
    conversation_id   BIGINT     NOT NULL,
    seq               BIGINT     NOT NULL,
    message_count     BIGINT     NOT NULL,
    kind              TINYINT UNSIGNED NOT NULL,
    target            BIGINT,
    edited_seq        BIGINT,
    recalled_seq      BIGINT,
    sender_id         BIGINT     NOT NULL,
    time              BIGINT     NOT NULL,
    fingerprint       BIGINT     NOT NULL, -- the bits of a u64
    id                BINARY(16) NOT NULL,
    device_id         BINARY(16),
    client_message_id BINARY(16),
    body              MEDIUMBLOB NOT NULL,
    PRIMARY KEY (conversation_id, seq),
    UNIQUE KEY event_sent (sender_id, client_message_id),
    KEY event_target (conversation_id, target)
) ENGINE = InnoDB;

-- A row with user_id 0 mentions every member.
CREATE TABLE IF NOT EXISTS mention (
    conversation_id BIGINT NOT NULL,
    user_id         BIGINT NOT NULL,
    seq             BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id, seq),
    KEY mention_seq (conversation_id, seq)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS device_cursor (
    user_id         BIGINT     NOT NULL,
    device_id       BINARY(16) NOT NULL,
    conversation_id BIGINT     NOT NULL,
    seq             BIGINT     NOT NULL,
    PRIMARY KEY (user_id, device_id, conversation_id)
) ENGINE = InnoDB;

-- Nodes that use this database. The times are by the clock of the database.
CREATE TABLE IF NOT EXISTS node (
    id        BINARY(16) NOT NULL PRIMARY KEY,
    heartbeat BIGINT     NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS feed_cursor (
    feed            VARBINARY(255) NOT NULL,
    conversation_id BIGINT         NOT NULL,
    seq             BIGINT         NOT NULL,
    PRIMARY KEY (feed, conversation_id)
) ENGINE = InnoDB;

-- A row outlives its lease, because it holds the latest term. The times are by the clock of the
-- database.
CREATE TABLE IF NOT EXISTS feed_lease (
    feed    VARBINARY(255) NOT NULL,
    shard   INT            NOT NULL,
    node_id BINARY(16)     NOT NULL,
    term    BIGINT         NOT NULL,
    expires BIGINT         NOT NULL,
    PRIMARY KEY (feed, shard)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS audit (
    id       BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    time     BIGINT         NOT NULL,
    operator VARBINARY(255) NOT NULL,
    action   VARBINARY(255) NOT NULL,
    target   VARBINARY(255) NOT NULL,
    detail   TEXT           NOT NULL,
    source   VARBINARY(255) NOT NULL
) ENGINE = InnoDB, CHARACTER SET utf8mb4, COLLATE utf8mb4_bin;
