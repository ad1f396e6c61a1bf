-- Who has signed in. Of a session only the digest of its cookie is stored. It stands for a key, and ends with it; the key
-- itself says who that is, but a role that is given here is all that the session may. Or it stands for somebody whom an
-- OpenID Connect issuer has named, as its token said.
CREATE TABLE sessions (
    digest BLOB NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL,
    key_id INTEGER REFERENCES keys (id) ON DELETE CASCADE,
    name TEXT,
    role TEXT CHECK (role IN ('viewer', 'operator', 'engineer', 'admin')),
    factory_ids TEXT,
    expires_at INTEGER NOT NULL,
    CHECK (key_id IS NOT NULL OR (name IS NOT NULL AND role IS NOT NULL))
) STRICT;

CREATE INDEX sessions_by_key ON sessions (key_id);

CREATE INDEX sessions_by_caller ON sessions (caller, expires_at);

CREATE INDEX sessions_by_end ON sessions (expires_at);
