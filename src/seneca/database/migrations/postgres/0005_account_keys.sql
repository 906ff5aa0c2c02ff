-- Rows that belong to an account refer to it by bucket and id, the first columns of their keys: whoever deletes an account finds
-- them by index. By id alone PostgreSQL before 18 looked through all sessions.
--
-- One change a statement, one shard after the other: Citus asks for that. Without Citus nobody reads that setting.
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
