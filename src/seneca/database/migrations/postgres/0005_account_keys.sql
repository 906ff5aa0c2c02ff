-- Rows that belong to an account reference it by bucket and id, the first columns of their keys, so that deleting an account can
-- use their indexes. With a reference by id alone, PostgreSQL before 18 scanned all sessions.
--
-- Citus requires one change per statement, and sequential shards. Without Citus the setting has no effect.
SET LOCAL citus.multi_shard_modify_mode TO 'sequential';
ALTER TABLE accounts ADD CONSTRAINT accounts_bucket_id_key UNIQUE (bucket, id);
ALTER TABLE passwords DROP CONSTRAINT passwords_account_id_fkey;
ALTER TABLE passwords ADD CONSTRAINT passwords_account_id_fkey
    FOREIGN KEY (bucket, account_id) REFERENCES accounts (bucket, id);
ALTER TABLE sign_ins DROP CONSTRAINT sign_ins_account_id_fkey;
ALTER TABLE sign_ins ADD CONSTRAINT sign_ins_account_id_fkey
    FOREIGN KEY (bucket, account_id) REFERENCES accounts (bucket, id);
ALTER TABLE familiar_addresses DROP CONSTRAINT familiar_addresses_account_id_fkey;
ALTER TABLE familiar_addresses ADD CONSTRAINT familiar_addresses_account_id_fkey
    FOREIGN KEY (bucket, account_id) REFERENCES accounts (bucket, id);
ALTER TABLE sessions DROP CONSTRAINT sessions_learner_id_fkey;
ALTER TABLE sessions ADD CONSTRAINT sessions_learner_id_fkey
    FOREIGN KEY (bucket, learner_id) REFERENCES accounts (bucket, id);
