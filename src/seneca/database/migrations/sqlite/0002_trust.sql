-- Refresh and revocation of sign-ins, login throttling, the audit log, erased accounts.

CREATE TABLE revocations (       -- ended sign-ins: their tokens are rejected until the last one has expired
    bucket INTEGER NOT NULL,
    sign_in TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, sign_in)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_by_time ON revocations (ended_at);
INSERT INTO revocations (bucket, sign_in, ended_at)
SELECT bucket, id, ended_at FROM sign_ins WHERE ended_at IS NOT NULL;

CREATE TABLE open_sign_ins (     -- hashes: SHA-256, hexadecimal; empty: no token
    bucket INTEGER NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    family_hash TEXT NOT NULL,   -- of the part that all refresh tokens of the sign-in share
    live_hash TEXT NOT NULL,     -- of the current refresh token
    used_hash TEXT NOT NULL,     -- of the previous refresh token
    salt TEXT NOT NULL,          -- used to derive the current refresh token from the previous one
    refreshed_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, account_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO open_sign_ins
SELECT bucket, account_id, id, started_at, '', '', '', '', started_at FROM sign_ins WHERE ended_at IS NULL;
DROP TABLE sign_ins;
ALTER TABLE open_sign_ins RENAME TO sign_ins;

CREATE TABLE familiar_addresses (  -- network addresses from which an account has signed in
    bucket INTEGER NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    address_key TEXT NOT NULL,   -- SHA-256
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, account_id, address_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE throttles (         -- failed sign-ins
    bucket INTEGER NOT NULL,     -- of the key
    key TEXT NOT NULL,           -- SHA-256 of the name, of the address, or of the account and the address
    tries INTEGER NOT NULL,
    tried_at INTEGER NOT NULL,   -- of a name the last attempt, of an address the first
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX throttles_by_time ON throttles (bucket, tried_at);

CREATE TABLE audit (             -- actions of administrators, and of people on their own account
    bucket INTEGER NOT NULL,     -- of the target
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT,                  -- an account's id; NULL: the command line
    act TEXT NOT NULL,
    subject TEXT NOT NULL,       -- an account's or a course's id; empty: the whole database
    facts TEXT NOT NULL,         -- JSON, an object; never a name, an address or a password
    PRIMARY KEY (bucket, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE erasures (          -- ids of erased accounts, to erase them again after a restore
    bucket INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    erased_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, account_id)
) STRICT, WITHOUT ROWID;
