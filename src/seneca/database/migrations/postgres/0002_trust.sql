-- Sign-ins that are refreshed and that end, who must wait before trying again, who did what, who was erased.

CREATE TABLE revocations (  -- sign-ins that have ended: their tokens are refused until the last has expired
    bucket BIGINT NOT NULL,
    sign_in TEXT COLLATE "C" NOT NULL,
    ended_at BIGINT NOT NULL,
    PRIMARY KEY (bucket, sign_in)
);
CREATE INDEX revocations_by_time ON revocations (ended_at);
INSERT INTO revocations (bucket, sign_in, ended_at)
SELECT bucket, id, ended_at FROM sign_ins WHERE ended_at IS NOT NULL;

DELETE FROM sign_ins WHERE ended_at IS NOT NULL;
ALTER TABLE sign_ins  -- hashes: SHA-256, hexadecimal; empty: there is no such token
    DROP COLUMN ended_at,
    ADD COLUMN family_hash TEXT NOT NULL DEFAULT '',  -- of what all refresh tokens of this sign-in have in common
    ADD COLUMN live_hash TEXT NOT NULL DEFAULT '',  -- of the one that is good
    ADD COLUMN used_hash TEXT NOT NULL DEFAULT '',  -- of the one before
    ADD COLUMN salt TEXT NOT NULL DEFAULT '',  -- with which the good one was derived from the one before
    ADD COLUMN refreshed_at BIGINT NOT NULL DEFAULT 0;
UPDATE sign_ins SET refreshed_at = started_at;
ALTER TABLE sign_ins
    ALTER COLUMN family_hash DROP DEFAULT,
    ALTER COLUMN live_hash DROP DEFAULT,
    ALTER COLUMN used_hash DROP DEFAULT,
    ALTER COLUMN salt DROP DEFAULT,
    ALTER COLUMN refreshed_at DROP DEFAULT;

CREATE TABLE familiar_addresses (  -- from where an account has signed in before
    bucket BIGINT NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    address_key TEXT COLLATE "C" NOT NULL,  -- SHA-256
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (bucket, account_id, address_key)
);

CREATE TABLE throttles (  -- what strangers have tried
    bucket BIGINT NOT NULL,  -- of the key
    key TEXT COLLATE "C" NOT NULL,  -- SHA-256 of what is tried: a name, an address, an account from an address
    tries BIGINT NOT NULL,
    tried_at BIGINT NOT NULL,  -- of a name the last time, of an address the first
    PRIMARY KEY (bucket, key)
) WITH (fillfactor = 80);
CREATE INDEX throttles_by_time ON throttles (bucket, tried_at);

CREATE TABLE audit (  -- what administrators, and people with their own account, have done
    bucket BIGINT NOT NULL,  -- of the subject
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C",  -- an account's id; NULL: from the shell
    act TEXT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,  -- an account's or a course's id; empty: the whole database
    facts TEXT NOT NULL,  -- JSON, an object; never a name, an address or a password
    PRIMARY KEY (bucket, id)
);
CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE erasures (  -- the ids of erased accounts, for a backup that still has them
    bucket BIGINT NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    erased_at BIGINT NOT NULL,
    PRIMARY KEY (bucket, account_id)
);
