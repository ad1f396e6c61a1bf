-- Ids are AUTOINCREMENT so that one is never used again after its row is gone.
CREATE TABLE sprockets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    teeth INTEGER NOT NULL CHECK (teeth BETWEEN 3 AND 10000),
    pitch_diameter REAL NOT NULL CHECK (pitch_diameter > 0 AND pitch_diameter <= 1e6),
    outside_diameter REAL NOT NULL CHECK (outside_diameter > 0 AND outside_diameter <= 1e6),
    pitch REAL NOT NULL CHECK (pitch > 0 AND pitch <= 1e6)
) STRICT;

CREATE TABLE factories (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    time_zone TEXT NOT NULL
) STRICT;

-- time is in microseconds since 1970. The rows lie in the order of the key, so a factory's span is one run of pages.
CREATE TABLE production (
    factory_id INTEGER NOT NULL REFERENCES factories (id),
    time INTEGER NOT NULL CHECK (time >= 315532800000000),
    sprocket_production_actual INTEGER NOT NULL CHECK (sprocket_production_actual BETWEEN 0 AND 2147483647),
    sprocket_production_goal INTEGER NOT NULL CHECK (sprocket_production_goal BETWEEN 0 AND 2147483647),
    PRIMARY KEY (factory_id, time)
) STRICT, WITHOUT ROWID;
