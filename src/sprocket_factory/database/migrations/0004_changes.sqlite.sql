-- Who did what when: one entry for each write, in its transaction, never changed afterwards. at is in microseconds since
-- 1970; before, after and spans are JSON. One writer numbers the entries in the order in which they become visible, so an
-- id is a position that a reader can go on from; AUTOINCREMENT gives none again after old entries are gone.
CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('create', 'replace', 'update', 'remove', 'import', 'revoke')),
    entity TEXT NOT NULL,
    key TEXT NOT NULL,
    before TEXT,
    after TEXT,
    records INTEGER NOT NULL CHECK (records > 0),
    request_id TEXT NOT NULL,
    spans TEXT,
    batch INTEGER
) STRICT;

-- The records that writes of many have replaced or removed, as they were. batch is that of the entry.
CREATE TABLE change_rows (
    batch INTEGER NOT NULL,
    factory_id INTEGER NOT NULL,
    time INTEGER NOT NULL,
    sprocket_production_actual INTEGER NOT NULL,
    sprocket_production_goal INTEGER NOT NULL,
    PRIMARY KEY (batch, factory_id, time)
) STRICT, WITHOUT ROWID;
