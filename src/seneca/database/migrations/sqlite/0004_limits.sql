-- For limits: the number of a course's module names, and the writes of a learner per hour. For caching: the hash of topics.

ALTER TABLE course_totals ADD COLUMN names INTEGER NOT NULL DEFAULT 0;  -- the sum over a course's buckets is its number of distinct module names
UPDATE course_totals SET names = (
    SELECT count(*) FROM (
        SELECT min(bucket) AS first_bucket FROM course_names n
        WHERE n.course_id = course_totals.course_id GROUP BY n.module_name) distinct_names
    WHERE first_bucket = course_totals.bucket);

ALTER TABLE courses ADD COLUMN topics_hash TEXT NOT NULL DEFAULT '';  -- of topics: their version in each process's cache
-- Until the topics change, any unique value will do.
UPDATE courses SET topics_hash = lower(hex(randomblob(16)));

CREATE TABLE learner_quotas (    -- writes of a learner in the hour that began at window_start
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    writes INTEGER NOT NULL,     -- this and the next column are counted in advance: a worker reserves an amount, then uses it
    bytes INTEGER NOT NULL,
    PRIMARY KEY (bucket, learner_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_subject ON audit (subject, at, id);
CREATE INDEX audit_by_actor ON audit (actor, at, id);
