-- Rows that belong to an account reference it by bucket and id, the first columns of their keys, so that deleting an account can
-- use their indexes. With a reference by id alone, SQLite scanned all sessions.
--
-- Only the text of the tables' definitions changes. This is the procedure of SQLite's documentation for changes that do not affect
-- the content on disk (lang_altertable.html). Copying the tables would take minutes for a few gigabytes.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(replace(sql, ' REFERENCES accounts (id)', ''), 'PRIMARY KEY (bucket, account_id',
    'FOREIGN KEY (bucket, account_id) REFERENCES accounts (bucket, id),' || char(10) || '    PRIMARY KEY (bucket, account_id')
WHERE type = 'table' AND name IN ('passwords', 'sign_ins', 'familiar_addresses');
UPDATE sqlite_schema
SET sql = replace(replace(sql, 'learner_id TEXT NOT NULL REFERENCES accounts (id)', 'learner_id TEXT NOT NULL'),
    'PRIMARY KEY (bucket, learner_id, id)',
    'FOREIGN KEY (bucket, learner_id) REFERENCES accounts (bucket, id),' || char(10) || '    PRIMARY KEY (bucket, learner_id, id)')
WHERE type = 'table' AND name = 'sessions';
PRAGMA writable_schema = RESET;  -- reload the definitions
CREATE UNIQUE INDEX accounts_by_bucket ON accounts (bucket, id);  -- the referenced key; creating it also makes other connections reload the schema
