-- What name__contains looks at: the name as Unicode folds it. No factory is older than this column.
ALTER TABLE factories ADD COLUMN name_folded TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Pages by time across all factories.
CREATE INDEX production_by_time ON production (time, factory_id);

-- The answers to POSTs that carried an Idempotency-Key.
CREATE TABLE replays (
    caller TEXT COLLATE "C" NOT NULL,
    method TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    status INTEGER NOT NULL,
    location TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (caller, method, path, key)
);

CREATE INDEX replays_by_age ON replays (at);

-- The tokens by which a writer whose connection was lost during COMMIT finds out whether it was committed. Whoever asks
-- stores one that says no, so that it can never be committed afterwards.
CREATE TABLE outcomes (
    token UUID PRIMARY KEY,
    committed BOOLEAN NOT NULL,
    at TIMESTAMPTZ NOT NULL
);

CREATE INDEX outcomes_by_age ON outcomes (at);
