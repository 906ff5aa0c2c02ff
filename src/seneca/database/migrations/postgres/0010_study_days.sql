-- Totals by study day: the calendar day of a session's start in the database's time zone (property time-zone). Older sessions
-- get their days, and the new totals their sums, in steps afterwards (study_days.py).

ALTER TABLE sessions ADD COLUMN study_day BIGINT NOT NULL DEFAULT 0;  -- counted from 1970
ALTER TABLE sessions ADD COLUMN scores BIGINT NOT NULL DEFAULT 0;     -- number of adaptive and quiz parts
ALTER TABLE sessions ALTER COLUMN study_day DROP DEFAULT, ALTER COLUMN scores DROP DEFAULT;
ALTER TABLE learner_totals ADD COLUMN scores BIGINT NOT NULL DEFAULT 0;
ALTER TABLE learner_totals ALTER COLUMN scores DROP DEFAULT;
ALTER TABLE course_totals ADD COLUMN scores BIGINT NOT NULL DEFAULT 0;
ALTER TABLE course_totals ALTER COLUMN scores DROP DEFAULT;
CREATE INDEX sessions_of_learner_by_day ON sessions (bucket, learner_id, study_day, course_id);

CREATE TABLE course_days (       -- totals of a day's sessions of one bucket's learners in one course
    course_id TEXT COLLATE "C" NOT NULL,
    study_day BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    results BIGINT NOT NULL,
    scores BIGINT NOT NULL,
    points BIGINT NOT NULL,
    milliseconds BIGINT NOT NULL,
    active_milliseconds BIGINT NOT NULL,
    learners BIGINT NOT NULL,           -- of the bucket, who started a session
    PRIMARY KEY (course_id, study_day, bucket)
) WITH (fillfactor = 80);

CREATE TABLE course_weeks (      -- learners with a session in a week, which is its Monday
    course_id TEXT COLLATE "C" NOT NULL,
    study_week BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    learners BIGINT NOT NULL,
    PRIMARY KEY (course_id, study_week, bucket)
) WITH (fillfactor = 80);

CREATE TABLE days (              -- as course_days, over all courses
    study_day BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    results BIGINT NOT NULL,
    scores BIGINT NOT NULL,
    points BIGINT NOT NULL,
    milliseconds BIGINT NOT NULL,
    active_milliseconds BIGINT NOT NULL,
    learners BIGINT NOT NULL,           -- of the bucket, who started a session
    PRIMARY KEY (study_day, bucket)
) WITH (fillfactor = 80);

CREATE TABLE weeks (             -- as course_weeks, over all courses
    study_week BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    learners BIGINT NOT NULL,
    PRIMARY KEY (study_week, bucket)
) WITH (fillfactor = 80);
