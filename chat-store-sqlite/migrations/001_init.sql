-- Names and skeletons compare byte by byte (SQLite's default collation, BINARY). Names that look
-- alike have the same skeleton.
-- Times are milliseconds since 1970. chat_core::store::sql_support defines the integer codes.
-- Tables and columns have the same names as in the MySQL store.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    skeleton      TEXT    NOT NULL UNIQUE,
    display_name  TEXT    NOT NULL,
    password_hash TEXT,
    direct_policy INTEGER NOT NULL,
    disabled      INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    subject       TEXT UNIQUE, -- identifier by which the application knows the user
    deleted       INTEGER      -- time of deletion
) STRICT;

CREATE TABLE device (
    user_id         INTEGER NOT NULL,
    id              BLOB    NOT NULL,
    name            TEXT    NOT NULL,
    session_epoch   INTEGER NOT NULL,
    session_token   BLOB,
    device_token    BLOB,
    created         INTEGER NOT NULL,
    last_login      INTEGER NOT NULL,
    session_expires INTEGER, -- time after which the session cannot be resumed
    PRIMARY KEY (user_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE contact (
    owner_id INTEGER NOT NULL,
    peer_id  INTEGER NOT NULL,
    state    INTEGER NOT NULL,
    blocked  INTEGER NOT NULL,
    note     TEXT    NOT NULL,
    since    INTEGER NOT NULL,
    PRIMARY KEY (owner_id, peer_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX contact_peer ON contact (peer_id);

-- Every append rewrites its row, so the row is narrow: group_profile holds the columns of groups.
CREATE TABLE conversation (
    id              INTEGER PRIMARY KEY,
    kind            INTEGER NOT NULL,
    low_id          INTEGER, -- direct: the smaller user id; inbox: the owner; group: NULL
    high_id         INTEGER, -- direct: the greater user id; inbox: the owner; group: NULL
    last_seq        INTEGER NOT NULL,
    message_count   INTEGER NOT NULL,
    members_version INTEGER NOT NULL,
    last_time       INTEGER NOT NULL,
    member_count    INTEGER NOT NULL,
    deleted          INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX conversation_kind ON conversation (low_id, high_id, kind) WHERE low_id IS NOT NULL;

-- open_key and open_skeleton repeat name_key and skeleton until the group is deleted. They are NULL
-- from then on, so that another group may take its name.
CREATE TABLE group_profile (
    conversation_id INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL, -- as its members write it
    name_key        TEXT    NOT NULL, -- canonical spelling
    skeleton        TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    join_policy     INTEGER NOT NULL,
    history_visible INTEGER NOT NULL,
    unlisted        INTEGER NOT NULL,
    open_key        TEXT,
    open_skeleton   TEXT
) STRICT;
CREATE UNIQUE INDEX group_key ON group_profile (open_key) WHERE open_key IS NOT NULL;
CREATE UNIQUE INDEX group_skeleton ON group_profile (open_skeleton) WHERE open_skeleton IS NOT NULL;

CREATE TABLE member (
    conversation_id INTEGER NOT NULL,
    user_id         INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    role            INTEGER NOT NULL,
    first_seq       INTEGER NOT NULL,
    until_seq       INTEGER,
    muted_until     INTEGER NOT NULL,
    delivered_seq   INTEGER NOT NULL,
    read_seq        INTEGER NOT NULL,
    has_sent        INTEGER NOT NULL, -- of direct conversations
    invited_by      INTEGER, -- of invited users: sender of the invitation in their inbox
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_user ON member (user_id);

-- Rows are in order of arrival: an append touches the last page of the table and one page of each
-- index, whichever conversation it belongs to. Client message ids are UUIDv7, so the index
-- event_sent grows at its end too.
CREATE TABLE event (
    arrival           INTEGER PRIMARY KEY,
    conversation_id   INTEGER NOT NULL,
    seq               INTEGER NOT NULL,
    message_count     INTEGER NOT NULL,
    kind              INTEGER NOT NULL,
    target            INTEGER,
    edited_seq        INTEGER,
    recalled_seq      INTEGER,
    sender_id         INTEGER NOT NULL,
    time              INTEGER NOT NULL,
    fingerprint       INTEGER NOT NULL, -- the bits of a u64
    id                BLOB    NOT NULL,
    device_id         BLOB,
    client_message_id BLOB,
    body              BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_seq ON event (conversation_id, seq);
CREATE UNIQUE INDEX event_sent ON event (client_message_id, sender_id) WHERE client_message_id IS NOT NULL;
CREATE INDEX event_target ON event (conversation_id, target) WHERE kind = 17; -- edits

-- A row with user_id 0 mentions every member.
CREATE TABLE mention (
    conversation_id INTEGER NOT NULL,
    user_id         INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX mention_seq ON mention (conversation_id, seq);

CREATE TABLE device_cursor (
    user_id         INTEGER NOT NULL,
    device_id       BLOB    NOT NULL,
    conversation_id INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id, conversation_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE feed_cursor (
    feed            TEXT    NOT NULL,
    conversation_id INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    PRIMARY KEY (feed, conversation_id)
) STRICT, WITHOUT ROWID;

-- A row outlives its lease, because it holds the latest term.
CREATE TABLE feed_lease (
    feed    TEXT    NOT NULL,
    shard   INTEGER NOT NULL,
    node_id BLOB    NOT NULL,
    term    INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (feed, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    time     INTEGER NOT NULL,
    operator TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    source   TEXT    NOT NULL
) STRICT;
