-- Rotation of the session token of a device. A row counts only while its token is that of the
-- device. The replaced token stays valid until the present one is used. If the replaced one was
-- presented twice, the sibling is the token of the first reply, which may have arrived.
CREATE TABLE session_token (
    user_id   INTEGER NOT NULL,
    device_id BLOB    NOT NULL,
    token     BLOB    NOT NULL,
    issued    INTEGER NOT NULL,
    replaced  BLOB,
    sibling   BLOB,
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;
