-- Rows that wait for their merge, and the slots of the roll-ups that a write of many touches. A temporary table belongs
-- to one session and is written to no log.
CREATE TEMP TABLE IF NOT EXISTS incoming (
    factory_id BIGINT NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    row_number BIGINT NOT NULL,
    actual INTEGER NOT NULL,
    goal INTEGER NOT NULL
) ON COMMIT DELETE ROWS;

CREATE TEMP TABLE IF NOT EXISTS touched (
    factory_id BIGINT NOT NULL,
    day BIGINT NOT NULL,
    start TIMESTAMPTZ NOT NULL,
    until TIMESTAMPTZ NOT NULL
) ON COMMIT DELETE ROWS;
