-- Rows that wait for their merge, in the order of the key, so that comparing them with production is one pass.
-- A temporary table belongs to one connection, is never synced, and spills to a file when it is large.
CREATE TEMP TABLE incoming (
    factory_id INTEGER NOT NULL,
    time INTEGER NOT NULL,
    row_number INTEGER NOT NULL,
    actual INTEGER NOT NULL,
    goal INTEGER NOT NULL,
    PRIMARY KEY (factory_id, time, row_number)
) STRICT, WITHOUT ROWID;

-- The slots of the roll-ups that a write of many touches.
CREATE TEMP TABLE touched (
    factory_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    start INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (factory_id, day, start)
) STRICT, WITHOUT ROWID;
