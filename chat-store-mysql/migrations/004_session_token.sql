-- Rotation of the session token of a device. A row counts only while its token is that of the
-- device. The replaced token stays valid until the present one is used. If the replaced one was
-- presented twice, the sibling is the token of the first reply, which may have arrived.
-- Every statement may run again.

CREATE TABLE IF NOT EXISTS session_token (
    user_id   BIGINT     NOT NULL,
    device_id BINARY(16) NOT NULL,
    token     BINARY(32) NOT NULL,
    issued    BIGINT     NOT NULL,
    replaced  BINARY(32),
    sibling   BINARY(32),
    PRIMARY KEY (user_id, device_id)
) ENGINE = InnoDB;
