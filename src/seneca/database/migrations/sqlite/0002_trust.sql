-- Sign-ins that are refreshed and that end, who must wait before trying again, who did what, who was erased.

CREATE TABLE revocations (       -- sign-ins that have ended: their tokens are refused until the last has expired
    bucket INTEGER NOT NULL,
    sign_in TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, sign_in)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_by_time ON revocations (ended_at);
INSERT INTO revocations (bucket, sign_in, ended_at)
SELECT bucket, id, ended_at FROM sign_ins WHERE ended_at IS NOT NULL;

CREATE TABLE open_sign_ins (     -- hashes: SHA-256, hexadecimal; empty: there is no such token
    bucket INTEGER NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    family_hash TEXT NOT NULL,   -- of what all refresh tokens of this sign-in have in common
    live_hash TEXT NOT NULL,     -- of the one that is good
    used_hash TEXT NOT NULL,     -- of the one before
    salt TEXT NOT NULL,          -- with which the good one was derived from the one before
    refreshed_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, account_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO open_sign_ins
SELECT bucket, account_id, id, started_at, '', '', '', '', started_at FROM sign_ins WHERE ended_at IS NULL;
DROP TABLE sign_ins;
ALTER TABLE open_sign_ins RENAME TO sign_ins;

CREATE TABLE familiar_addresses (  -- from where an account has signed in before
    bucket INTEGER NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    address_key TEXT NOT NULL,   -- SHA-256
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, account_id, address_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE throttles (         -- what strangers have tried
    bucket INTEGER NOT NULL,     -- of the key
    key TEXT NOT NULL,           -- SHA-256 of what is tried: a name, an address, an account from an address
    tries INTEGER NOT NULL,
    tried_at INTEGER NOT NULL,   -- of a name the last time, of an address the first
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX throttles_by_time ON throttles (bucket, tried_at);

CREATE TABLE audit (             -- what administrators, and people with their own account, have done
    bucket INTEGER NOT NULL,     -- of the subject
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT,                  -- an account's id; NULL: from the shell
    act TEXT NOT NULL,
    subject TEXT NOT NULL,       -- an account's or a course's id; empty: the whole database
    facts TEXT NOT NULL,         -- JSON, an object; never a name, an address or a password
    PRIMARY KEY (bucket, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE erasures (          -- the ids of erased accounts, for a backup that still has them
    bucket INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    erased_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, account_id)
) STRICT, WITHOUT ROWID;
