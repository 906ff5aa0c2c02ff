-- Times are milliseconds since 1970 (UTC), scores thousandths, identifiers lower-case UUID text.
-- Every table that belongs to a learner carries the learner's bucket in its key: see docs/architecture.md.

CREATE TABLE properties (        -- what is fixed or happens once in a database's life
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

CREATE TABLE passwords (         -- none: the account cannot sign in until one is set
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
    ended_at INTEGER,            -- from then on its tokens are refused
    PRIMARY KEY (bucket, account_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_sign_ins ON sign_ins (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE sessions (
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL REFERENCES accounts (id),
    id TEXT NOT NULL,            -- the learner's own: another learner's may be equal
    course_id TEXT NOT NULL REFERENCES courses (id),
    course_title TEXT NOT NULL,  -- as it was at the start
    topic TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER CHECK (ended_at >= started_at),
    results INTEGER NOT NULL,    -- this and the next two: figures of its rows in results
    points INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (bucket, learner_id, id)
) STRICT;
CREATE INDEX sessions_by_id ON sessions (id);
CREATE INDEX sessions_of_learner ON sessions (bucket, learner_id, started_at, id);
CREATE INDEX sessions_of_course ON sessions (course_id, started_at, id);

CREATE TABLE results (           -- one module's results in one session
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    module_name TEXT NOT NULL,
    position INTEGER NOT NULL,   -- in the order in which modules were first recorded, from 0
    adaptive TEXT,               -- a part as it is answered, JSON; NULL: never given
    quiz TEXT,
    wrong_answers TEXT,
    adaptive_score INTEGER,      -- the part's score again, for the sums
    quiz_score INTEGER,
    PRIMARY KEY (bucket, learner_id, session_id, module_name),
    FOREIGN KEY (bucket, learner_id, session_id) REFERENCES sessions (bucket, learner_id, id)
) STRICT;

-- The figures: kept by differences, in the transaction that changes what they count (docs/statistics.md).

CREATE TABLE learner_totals (    -- of one learner in one course
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    course_id TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    results INTEGER NOT NULL,
    points INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    names INTEGER NOT NULL,      -- how many rows learner_names has
    name_changes INTEGER NOT NULL,  -- how often it gained or lost one; never falls
    PRIMARY KEY (bucket, learner_id, course_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE learner_names (     -- module names with a result of this learner in this course
    bucket INTEGER NOT NULL,
    learner_id TEXT NOT NULL,
    course_id TEXT NOT NULL,
    module_name TEXT NOT NULL,
    results INTEGER NOT NULL,
    PRIMARY KEY (bucket, learner_id, course_id, module_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE course_totals (     -- of the learners of one bucket in one course
    course_id TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    results INTEGER NOT NULL,
    points INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    name_changes INTEGER NOT NULL,  -- how often course_names gained or lost a row here; never falls
    PRIMARY KEY (course_id, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE course_names (      -- module names with a result of any learner of the bucket in this course
    course_id TEXT NOT NULL,
    module_name TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    learners INTEGER NOT NULL,
    PRIMARY KEY (course_id, module_name, bucket)
) STRICT, WITHOUT ROWID;
