-- For limits: the number of a course's module names, and the writes of a learner per hour. For caching: the hash of topics.

ALTER TABLE course_totals ADD COLUMN names BIGINT NOT NULL DEFAULT 0;  -- the sum over a course's buckets is its number of distinct module names
ALTER TABLE course_totals ALTER COLUMN names DROP DEFAULT;
UPDATE course_totals SET names = firsts.names
FROM (SELECT course_id, first_bucket, count(*) AS names
      FROM (SELECT course_id, min(bucket) AS first_bucket FROM course_names GROUP BY course_id, module_name) distinct_names
      GROUP BY course_id, first_bucket) firsts
WHERE course_totals.course_id = firsts.course_id AND course_totals.bucket = firsts.first_bucket;

ALTER TABLE courses ADD COLUMN topics_hash TEXT NOT NULL DEFAULT '';  -- of topics: their version in each process's cache
ALTER TABLE courses ALTER COLUMN topics_hash DROP DEFAULT;
-- Until the topics change, any unique value will do.
UPDATE courses SET topics_hash = gen_random_uuid()::text;

CREATE TABLE learner_quotas (    -- writes of a learner in the hour that began at window_start
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL,
    window_start BIGINT NOT NULL,
    writes BIGINT NOT NULL,      -- this and the next column are counted in advance: a worker reserves an amount, then uses it
    bytes BIGINT NOT NULL,
    PRIMARY KEY (bucket, learner_id)
) WITH (fillfactor = 80);

CREATE INDEX audit_by_subject ON audit (subject, at, id);
CREATE INDEX audit_by_actor ON audit (actor, at, id);
