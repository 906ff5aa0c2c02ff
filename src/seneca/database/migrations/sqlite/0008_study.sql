-- Study as it happened: when results were recorded, how long learners were active, who ended a session, deleted sessions.
-- A backfill fills the new columns of older sessions and of their totals: database/migrations/active_time.py.

ALTER TABLE sessions ADD COLUMN ended_by TEXT;      -- learner, timeout or administrator; NULL: not ended
ALTER TABLE sessions ADD COLUMN idle_since INTEGER NOT NULL DEFAULT 0;  -- of an open session: no timeout before this time plus the timeout
ALTER TABLE sessions ADD COLUMN activity TEXT;      -- JSON, [[first, last], …]: the events between start and end; NULL: none
ALTER TABLE sessions ADD COLUMN active_milliseconds INTEGER NOT NULL DEFAULT 0;

ALTER TABLE results ADD COLUMN adaptive_at INTEGER; -- this and the next two: when the part was recorded; NULL: at the session's end
ALTER TABLE results ADD COLUMN quiz_at INTEGER;
ALTER TABLE results ADD COLUMN wrong_answers_at INTEGER;

ALTER TABLE learner_totals ADD COLUMN active_milliseconds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE course_totals ADD COLUMN active_milliseconds INTEGER NOT NULL DEFAULT 0;

CREATE TABLE voided_sessions (   -- ids of sessions that an administrator deleted: a device cannot bring them back
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    id TEXT NOT NULL,
    voided_at INTEGER NOT NULL,
    FOREIGN KEY (bucket, learner_id) REFERENCES accounts (bucket, id),
    PRIMARY KEY (bucket, learner_id, id)
) STRICT, WITHOUT ROWID;
