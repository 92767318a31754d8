-- Nodes that work on this database. The times are the database's own, in milliseconds since 1970.
CREATE TABLE IF NOT EXISTS node (
    id        BINARY(16) NOT NULL PRIMARY KEY,
    heartbeat BIGINT NOT NULL
) ENGINE = InnoDB;
