-- Study as it happened: when results were recorded, how long learners were active, who ended a session, deleted sessions.
-- A backfill fills the new columns of older sessions and of their totals: database/migrations/active_time.py.

ALTER TABLE sessions ADD COLUMN ended_by TEXT;      -- learner, timeout or administrator; NULL: not ended
ALTER TABLE sessions ADD COLUMN idle_since BIGINT NOT NULL DEFAULT 0;  -- of an open session: no timeout before this time plus the timeout
ALTER TABLE sessions ADD COLUMN activity TEXT;      -- JSON, [[first, last], …]: the events between start and end; NULL: none
ALTER TABLE sessions ADD COLUMN active_milliseconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ALTER COLUMN idle_since DROP DEFAULT, ALTER COLUMN active_milliseconds DROP DEFAULT;

ALTER TABLE results ADD COLUMN adaptive_at BIGINT; -- this and the next two: when the part was recorded; NULL: at the session's end
ALTER TABLE results ADD COLUMN quiz_at BIGINT;
ALTER TABLE results ADD COLUMN wrong_answers_at BIGINT;

ALTER TABLE learner_totals ADD COLUMN active_milliseconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE learner_totals ALTER COLUMN active_milliseconds DROP DEFAULT;
ALTER TABLE course_totals ADD COLUMN active_milliseconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE course_totals ALTER COLUMN active_milliseconds DROP DEFAULT;

CREATE TABLE voided_sessions (   -- ids of sessions that an administrator deleted: a device cannot bring them back
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    voided_at BIGINT NOT NULL,
    FOREIGN KEY (bucket, learner_id) REFERENCES accounts (bucket, id),
    PRIMARY KEY (bucket, learner_id, id)
);
