-- What bounds need: how many module names a course has, what a learner stored in an hour; and what spares reading too much.

ALTER TABLE course_totals ADD COLUMN names INTEGER NOT NULL DEFAULT 0;  -- summed over a course's buckets: its distinct module names
UPDATE course_totals SET names = (
    SELECT count(*) FROM (
        SELECT min(bucket) AS first_bucket FROM course_names n
        WHERE n.course_id = course_totals.course_id GROUP BY n.module_name) distinct_names
    WHERE first_bucket = course_totals.bucket);

ALTER TABLE courses ADD COLUMN topics_hash TEXT NOT NULL DEFAULT '';  -- of topics: processes remember them by it
-- Any value will do that no other course has, until the topics change.
UPDATE courses SET topics_hash = lower(hex(randomblob(16)));

CREATE TABLE learner_quotas (    -- what a learner has stored in the hour that began at window_start
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    writes INTEGER NOT NULL,     -- this and the next, counted in advance: a worker reserves some, then spends them
    bytes INTEGER NOT NULL,
    PRIMARY KEY (bucket, learner_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_subject ON audit (subject, at, id);
CREATE INDEX audit_by_actor ON audit (actor, at, id);
