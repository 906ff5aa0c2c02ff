-- Times are milliseconds since 1970 (UTC), scores thousandths, identifiers lower-case UUID text.
-- The key of every table that belongs to a learner begins with the learner's bucket: see docs/architecture.md.

CREATE TABLE properties (        -- values that are set once in the lifetime of a database
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE courses (
    id TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL UNIQUE,
    qualification TEXT NOT NULL,
    topics TEXT NOT NULL,        -- JSON: [{"topic": …, "modules": […]}]
    search_key TEXT NOT NULL,    -- title and qualification, NFKC and case-folded
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    bucket INTEGER NOT NULL,
    username TEXT NOT NULL,
    email TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX accounts_by_creation ON accounts (created_at, id);
CREATE INDEX administrators ON accounts (id) WHERE role = 'admin';

CREATE TABLE account_names (     -- usernames and addresses share one namespace
    name_key TEXT NOT NULL PRIMARY KEY,   -- NFKC and case-folded
    account_id TEXT NOT NULL REFERENCES accounts (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX names_of_account ON account_names (account_id);

CREATE TABLE passwords (         -- an account without a row cannot sign in until a password is set
    bucket INTEGER NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    hash TEXT NOT NULL,
    PRIMARY KEY (bucket, account_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sign_ins (
    bucket INTEGER NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,            -- tokens of the sign-in are rejected from then on
    PRIMARY KEY (bucket, account_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_sign_ins ON sign_ins (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE sessions (
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL REFERENCES accounts (id),
    id TEXT NOT NULL,            -- unique per learner
    course_id TEXT NOT NULL REFERENCES courses (id),
    course_title TEXT NOT NULL,  -- at the start of the session
    topic TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER CHECK (ended_at >= started_at),
    results INTEGER NOT NULL,    -- this and the next two columns: totals of the session's rows in results
    points INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (bucket, learner_id, id)
) STRICT;
CREATE INDEX sessions_by_id ON sessions (id);
CREATE INDEX sessions_of_learner ON sessions (bucket, learner_id, started_at, id);
CREATE INDEX sessions_of_course ON sessions (course_id, started_at, id);

CREATE TABLE results (           -- results of one module in one session
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    module_name TEXT NOT NULL,
    position INTEGER NOT NULL,   -- order in which modules were first recorded, from 0
    adaptive TEXT,               -- the part as it is returned, JSON; NULL: never sent
    quiz TEXT,
    wrong_answers TEXT,
    adaptive_score INTEGER,      -- copy of the part's score, for totals
    quiz_score INTEGER,
    PRIMARY KEY (bucket, learner_id, session_id, module_name),
    FOREIGN KEY (bucket, learner_id, session_id) REFERENCES sessions (bucket, learner_id, id)
) STRICT;

-- Totals: updated incrementally, in the transaction that changes what they count (docs/statistics.md).

CREATE TABLE learner_totals (    -- totals of one learner in one course
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    course_id TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    results INTEGER NOT NULL,
    points INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    names INTEGER NOT NULL,      -- number of rows in learner_names
    name_changes INTEGER NOT NULL,  -- number of insertions into and deletions from learner_names; never decreases
    PRIMARY KEY (bucket, learner_id, course_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE learner_names (     -- module names with results of a learner in a course
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    course_id TEXT NOT NULL,
    module_name TEXT NOT NULL,
    results INTEGER NOT NULL,
    PRIMARY KEY (bucket, learner_id, course_id, module_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE course_totals (     -- totals of the learners of one bucket in one course
    course_id TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    results INTEGER NOT NULL,
    points INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    name_changes INTEGER NOT NULL,  -- number of insertions into and deletions from course_names in this bucket; never decreases
    PRIMARY KEY (course_id, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE course_names (      -- module names with results of any learner of the bucket in a course
    course_id TEXT NOT NULL,
    module_name TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    learners INTEGER NOT NULL,
    PRIMARY KEY (course_id, module_name, bucket)
) STRICT, WITHOUT ROWID;
