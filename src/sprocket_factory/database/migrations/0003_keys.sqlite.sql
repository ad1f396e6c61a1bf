-- Of a key only its digest is stored. factory_ids is a JSON array; NULL stands for all factories. Times are in
-- microseconds since 1970.
CREATE TABLE keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    name_folded TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'engineer', 'admin')),
    factory_ids TEXT CHECK (factory_ids IS NULL OR role IN ('viewer', 'operator')),
    digest BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) STRICT;
