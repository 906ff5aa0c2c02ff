-- Totals by study day: the calendar day of a session's start in the database's time zone (property time-zone). Older sessions
-- get their days, and the new totals their sums, in steps afterwards (study_days.py).

ALTER TABLE sessions ADD COLUMN study_day INTEGER NOT NULL DEFAULT 0;  -- counted from 1970
ALTER TABLE sessions ADD COLUMN scores INTEGER NOT NULL DEFAULT 0;     -- number of adaptive and quiz parts
ALTER TABLE learner_totals ADD COLUMN scores INTEGER NOT NULL DEFAULT 0;
ALTER TABLE course_totals ADD COLUMN scores INTEGER NOT NULL DEFAULT 0;
CREATE INDEX sessions_of_learner_by_day ON sessions (bucket, learner_id, study_day, course_id);

CREATE TABLE course_days (       -- totals of a day's sessions of one bucket's learners in one course
    course_id TEXT NOT NULL,
    study_day INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    results INTEGER NOT NULL,
    scores INTEGER NOT NULL,
    points INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    active_milliseconds INTEGER NOT NULL,
    learners INTEGER NOT NULL,           -- of the bucket, who started a session
    PRIMARY KEY (course_id, study_day, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE course_weeks (      -- learners with a session in a week, which is its Monday
    course_id TEXT NOT NULL,
    study_week INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    learners INTEGER NOT NULL,
    PRIMARY KEY (course_id, study_week, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE days (              -- as course_days, over all courses
    study_day INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    results INTEGER NOT NULL,
    scores INTEGER NOT NULL,
    points INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    active_milliseconds INTEGER NOT NULL,
    learners INTEGER NOT NULL,           -- of the bucket, who started a session
    PRIMARY KEY (study_day, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE weeks (             -- as course_weeks, over all courses
    study_week INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    learners INTEGER NOT NULL,
    PRIMARY KEY (study_week, bucket)
) STRICT, WITHOUT ROWID;
