-- Times are milliseconds since 1970 (UTC), scores thousandths, identifiers lower-case UUID text.
-- The key of every table that belongs to a learner begins with the learner's bucket: see docs/architecture.md.
-- Texts are compared and sorted by code point (COLLATE "C"). Tables with frequent updates have a lower fillfactor.

CREATE TABLE properties (        -- values that are set once in the lifetime of a database
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE courses (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    title TEXT COLLATE "C" NOT NULL UNIQUE,
    qualification TEXT NOT NULL,
    topics TEXT NOT NULL,  -- JSON: [{"topic": …, "modules": […]}]
    search_key TEXT NOT NULL,  -- title and qualification, NFKC and case-folded
    created_at BIGINT NOT NULL
);

CREATE TABLE accounts (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    bucket BIGINT NOT NULL,
    username TEXT NOT NULL,
    email TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    created_at BIGINT NOT NULL
);
CREATE INDEX accounts_by_creation ON accounts (created_at, id);
CREATE INDEX administrators ON accounts (id) WHERE role = 'admin';

CREATE TABLE account_names (     -- usernames and addresses share one namespace
    name_key TEXT COLLATE "C" NOT NULL PRIMARY KEY,  -- NFKC and case-folded
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id)
);
CREATE INDEX names_of_account ON account_names (account_id);

CREATE TABLE passwords (         -- an account without a row cannot sign in until a password is set
    bucket BIGINT NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    hash TEXT NOT NULL,
    PRIMARY KEY (bucket, account_id)
);

CREATE TABLE sign_ins (
    bucket BIGINT NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    id TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,  -- tokens of the sign-in are rejected from then on
    PRIMARY KEY (bucket, account_id, id)
);
CREATE INDEX ended_sign_ins ON sign_ins (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE sessions (
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    id TEXT COLLATE "C" NOT NULL,  -- unique per learner
    course_id TEXT COLLATE "C" NOT NULL REFERENCES courses (id),
    course_title TEXT NOT NULL,  -- at the start of the session
    topic TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT CHECK (ended_at >= started_at),
    results BIGINT NOT NULL,  -- this and the next two columns: totals of the session's rows in results
    points BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (bucket, learner_id, id)
) WITH (fillfactor = 80);
CREATE INDEX sessions_by_id ON sessions (id);
CREATE INDEX sessions_of_learner ON sessions (bucket, learner_id, started_at, id);
CREATE INDEX sessions_of_course ON sessions (course_id, started_at, id);

CREATE TABLE results (           -- results of one module in one session
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    module_name TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,  -- order in which modules were first recorded, from 0
    adaptive TEXT,  -- the part as it is returned, JSON; NULL: never sent
    quiz TEXT,
    wrong_answers TEXT,
    adaptive_score BIGINT,  -- copy of the part's score, for totals
    quiz_score BIGINT,
    PRIMARY KEY (bucket, learner_id, session_id, module_name),
    FOREIGN KEY (bucket, learner_id, session_id) REFERENCES sessions (bucket, learner_id, id)
);

-- Totals: updated incrementally, in the transaction that changes what they count (docs/statistics.md).

CREATE TABLE learner_totals (    -- totals of one learner in one course
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL,
    course_id TEXT COLLATE "C" NOT NULL,
    sessions BIGINT NOT NULL,
    results BIGINT NOT NULL,
    points BIGINT NOT NULL,
    milliseconds BIGINT NOT NULL,
    names BIGINT NOT NULL,  -- number of rows in learner_names
    name_changes BIGINT NOT NULL,  -- number of insertions into and deletions from learner_names; never decreases
    PRIMARY KEY (bucket, learner_id, course_id)
) WITH (fillfactor = 80);

CREATE TABLE learner_names (     -- module names with results of a learner in a course
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL,
    course_id TEXT COLLATE "C" NOT NULL,
    module_name TEXT COLLATE "C" NOT NULL,
    results BIGINT NOT NULL,
    PRIMARY KEY (bucket, learner_id, course_id, module_name)
);

CREATE TABLE course_totals (     -- totals of the learners of one bucket in one course
    course_id TEXT COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    results BIGINT NOT NULL,
    points BIGINT NOT NULL,
    milliseconds BIGINT NOT NULL,
    name_changes BIGINT NOT NULL,  -- number of insertions into and deletions from course_names in this bucket; never decreases
    PRIMARY KEY (course_id, bucket)
) WITH (fillfactor = 80);

CREATE TABLE course_names (      -- module names with results of any learner of the bucket in a course
    course_id TEXT COLLATE "C" NOT NULL,
    module_name TEXT COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    learners BIGINT NOT NULL,
    PRIMARY KEY (course_id, module_name, bucket)
);
