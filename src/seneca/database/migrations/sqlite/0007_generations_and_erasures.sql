-- A restore used to make tokens bad by the time of their issue, which a clock that is set back makes wrong. Now each token carries
-- the generation that the database had, and a restore begins another one.

UPDATE properties SET name = 'token-generation' WHERE name = 'tokens-not-before';

-- An account with very many sessions is erased in several transactions: it exists for nobody from the first one on.

ALTER TABLE accounts ADD COLUMN erased_at INTEGER;
CREATE INDEX accounts_being_erased ON accounts (id) WHERE erased_at IS NOT NULL;

-- The file is rewritten for itself, at most once in an interval; what an older Seneca left to do is to be done whole.

INSERT INTO properties (name, value) SELECT 'vacuum-wanted', value FROM properties WHERE name = 'scouring-wanted';
