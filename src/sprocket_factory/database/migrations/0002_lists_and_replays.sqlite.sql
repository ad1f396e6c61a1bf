-- What name__contains looks at: the name as Unicode folds it.
ALTER TABLE factories ADD COLUMN name_folded TEXT NOT NULL DEFAULT '';
UPDATE factories SET name_folded = casefold(name);

-- Pages by time across all factories.
CREATE INDEX production_by_time ON production (time, factory_id);

-- The answers to POSTs that carried an Idempotency-Key. at is in microseconds since 1970.
CREATE TABLE replays (
    caller TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    at INTEGER NOT NULL,
    status INTEGER NOT NULL,
    location TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (caller, method, path, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX replays_by_age ON replays (at);
