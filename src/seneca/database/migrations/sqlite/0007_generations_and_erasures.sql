-- A restore used to invalidate tokens by their time of issue, which is wrong if the clock is set back. Now each token contains the
-- database's generation, and a restore begins a new one.

UPDATE properties SET name = 'token-generation' WHERE name = 'tokens-not-before';

-- An account with many sessions is erased in several transactions; it is invisible from the first one on.

ALTER TABLE accounts ADD COLUMN erased_at INTEGER;
CREATE INDEX accounts_being_erased ON accounts (id) WHERE erased_at IS NOT NULL;

-- VACUUM is requested separately, and runs at most once per interval; a request of an older version is carried over.

INSERT INTO properties (name, value) SELECT 'vacuum-wanted', value FROM properties WHERE name = 'scouring-wanted';
