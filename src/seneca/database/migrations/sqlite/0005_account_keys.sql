-- Rows that belong to an account refer to it by bucket and id, the first columns of their keys: whoever deletes an account finds
-- them by index. By id alone SQLite looked through all sessions.
--
-- Only the text of these tables' definitions changes, and nothing of their content: the way that SQLite's documentation gives for
-- changes that leave the content on disk as it is (lang_altertable.html). Copying the tables instead would take minutes where there are some gigabytes.
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
PRAGMA writable_schema = RESET;  -- read the definitions again
CREATE UNIQUE INDEX accounts_by_bucket ON accounts (bucket, id);  -- what they refer to; tells other connections, too
