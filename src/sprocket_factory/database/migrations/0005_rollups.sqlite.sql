-- Sums of production per slot (a quarter-hour of UTC, cut where the factory's clocks are changed within) and per local
-- date, in days since 1970. They are counted anew whenever a record of theirs changes.
CREATE TABLE production_quarters (
    factory_id INTEGER NOT NULL REFERENCES factories (id) ON DELETE CASCADE,
    day INTEGER NOT NULL,
    start INTEGER NOT NULL,
    until INTEGER NOT NULL,
    actual INTEGER NOT NULL,
    goal INTEGER NOT NULL,
    records INTEGER NOT NULL,
    first INTEGER,
    last INTEGER,
    PRIMARY KEY (factory_id, day, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE production_days (
    factory_id INTEGER NOT NULL REFERENCES factories (id) ON DELETE CASCADE,
    day INTEGER NOT NULL,
    actual INTEGER NOT NULL,
    goal INTEGER NOT NULL,
    records INTEGER NOT NULL,
    first INTEGER,
    last INTEGER,
    PRIMARY KEY (factory_id, day)
) STRICT, WITHOUT ROWID;

-- With which time zones they were made: none, so that the next start makes them for what is there already.
CREATE TABLE rollups (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    tzdata TEXT NOT NULL
) STRICT;

INSERT INTO rollups (number, tzdata) VALUES (1, '');
