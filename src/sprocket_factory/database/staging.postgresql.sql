-- Rows that wait for their merge. A temporary table belongs to one session and is written to no log.
CREATE TEMP TABLE IF NOT EXISTS incoming (
    factory_id BIGINT NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    row_number BIGINT NOT NULL,
    actual INTEGER NOT NULL,
    goal INTEGER NOT NULL
) ON COMMIT DELETE ROWS;

TRUNCATE incoming;
