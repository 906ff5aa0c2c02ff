-- A restore used to make tokens bad by the time of their issue, which a clock that is set back makes wrong. Now each token carries
-- the generation that the database had, and a restore begins another one.

UPDATE properties SET name = 'token-generation' WHERE name = 'tokens-not-before';
