-- Sums of production per slot (a quarter-hour of UTC, cut where the factory's clocks are changed within) and per local
-- date, in days since 1970. They are counted anew whenever a record of theirs changes.
CREATE TABLE production_quarters (
    factory_id BIGINT NOT NULL REFERENCES factories (id) ON DELETE CASCADE,
    day BIGINT NOT NULL,
    start TIMESTAMPTZ NOT NULL,
    until TIMESTAMPTZ NOT NULL,
    actual BIGINT NOT NULL,
    goal BIGINT NOT NULL,
    records BIGINT NOT NULL,
    first TIMESTAMPTZ,
    last TIMESTAMPTZ,
    PRIMARY KEY (factory_id, day, start)
) WITH (fillfactor = 80);

CREATE TABLE production_days (
    factory_id BIGINT NOT NULL REFERENCES factories (id) ON DELETE CASCADE,
    day BIGINT NOT NULL,
    actual BIGINT NOT NULL,
    goal BIGINT NOT NULL,
    records BIGINT NOT NULL,
    first TIMESTAMPTZ,
    last TIMESTAMPTZ,
    PRIMARY KEY (factory_id, day)
) WITH (fillfactor = 50);

-- With which time zones they were made: none, so that the next start makes them for what is there already.
CREATE TABLE rollups (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    tzdata TEXT COLLATE "C" NOT NULL
);

INSERT INTO rollups (number, tzdata) VALUES (1, '');
