-- Refresh and revocation of sign-ins, login throttling, the audit log, erased accounts.

CREATE TABLE revocations (  -- ended sign-ins: their tokens are rejected until the last one has expired
    bucket BIGINT NOT NULL,
    sign_in TEXT COLLATE "C" NOT NULL,
    ended_at BIGINT NOT NULL,
    PRIMARY KEY (bucket, sign_in)
);
CREATE INDEX revocations_by_time ON revocations (ended_at);
INSERT INTO revocations (bucket, sign_in, ended_at)
SELECT bucket, id, ended_at FROM sign_ins WHERE ended_at IS NOT NULL;

DELETE FROM sign_ins WHERE ended_at IS NOT NULL;
ALTER TABLE sign_ins  -- hashes: SHA-256, hexadecimal; empty: no token
    DROP COLUMN ended_at,
    ADD COLUMN family_hash TEXT NOT NULL DEFAULT '',  -- of the part that all refresh tokens of the sign-in share
    ADD COLUMN live_hash TEXT NOT NULL DEFAULT '',  -- of the current refresh token
    ADD COLUMN used_hash TEXT NOT NULL DEFAULT '',  -- of the previous refresh token
    ADD COLUMN salt TEXT NOT NULL DEFAULT '',  -- used to derive the current refresh token from the previous one
    ADD COLUMN refreshed_at BIGINT NOT NULL DEFAULT 0;
UPDATE sign_ins SET refreshed_at = started_at;
ALTER TABLE sign_ins
    ALTER COLUMN family_hash DROP DEFAULT,
    ALTER COLUMN live_hash DROP DEFAULT,
    ALTER COLUMN used_hash DROP DEFAULT,
    ALTER COLUMN salt DROP DEFAULT,
    ALTER COLUMN refreshed_at DROP DEFAULT;

CREATE TABLE familiar_addresses (  -- network addresses from which an account has signed in
    bucket BIGINT NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    address_key TEXT COLLATE "C" NOT NULL,  -- SHA-256
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (bucket, account_id, address_key)
);

CREATE TABLE throttles (  -- failed sign-ins
    bucket BIGINT NOT NULL,  -- of the key
    key TEXT COLLATE "C" NOT NULL,  -- SHA-256 of the name, of the address, or of the account and the address
    tries BIGINT NOT NULL,
    tried_at BIGINT NOT NULL,  -- of a name the last attempt, of an address the first
    PRIMARY KEY (bucket, key)
) WITH (fillfactor = 80);
CREATE INDEX throttles_by_time ON throttles (bucket, tried_at);

CREATE TABLE audit (  -- actions of administrators, and of people on their own account
    bucket BIGINT NOT NULL,  -- of the target
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C",  -- an account's id; NULL: the command line
    act TEXT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,  -- an account's or a course's id; empty: the whole database
    facts TEXT NOT NULL,  -- JSON, an object; never a name, an address or a password
    PRIMARY KEY (bucket, id)
);
CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE erasures (  -- ids of erased accounts, to erase them again after a restore
    bucket BIGINT NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    erased_at BIGINT NOT NULL,
    PRIMARY KEY (bucket, account_id)
);
