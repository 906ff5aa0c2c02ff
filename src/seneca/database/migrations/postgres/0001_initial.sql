-- Times are milliseconds since 1970 (UTC), scores thousandths, identifiers lower-case UUID text.
-- Every table that belongs to a learner carries the learner's bucket in its key: see docs/architecture.md.
-- What is compared or sorted is so by code point (COLLATE "C"). Rows that change again and again have room to (fillfactor).

CREATE TABLE properties (        -- what is fixed or happens once in a database's life
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

CREATE TABLE passwords (         -- none: the account cannot sign in until one is set
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
    ended_at BIGINT,  -- from then on its tokens are refused
    PRIMARY KEY (bucket, account_id, id)
);
CREATE INDEX ended_sign_ins ON sign_ins (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE sessions (
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    id TEXT COLLATE "C" NOT NULL,  -- the learner's own: another learner's may be equal
    course_id TEXT COLLATE "C" NOT NULL REFERENCES courses (id),
    course_title TEXT NOT NULL,  -- as it was at the start
    topic TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT CHECK (ended_at >= started_at),
    results BIGINT NOT NULL,  -- this and the next two: figures of its rows in results
    points BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (bucket, learner_id, id)
) WITH (fillfactor = 80);
CREATE INDEX sessions_by_id ON sessions (id);
CREATE INDEX sessions_of_learner ON sessions (bucket, learner_id, started_at, id);
CREATE INDEX sessions_of_course ON sessions (course_id, started_at, id);

CREATE TABLE results (           -- one module's results in one session
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    module_name TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,  -- in the order in which modules were first recorded, from 0
    adaptive TEXT,  -- a part as it is answered, JSON; NULL: never given
    quiz TEXT,
    wrong_answers TEXT,
    adaptive_score BIGINT,  -- the part's score again, for the sums
    quiz_score BIGINT,
    PRIMARY KEY (bucket, learner_id, session_id, module_name),
    FOREIGN KEY (bucket, learner_id, session_id) REFERENCES sessions (bucket, learner_id, id)
);

-- The figures: kept by differences, in the transaction that changes what they count (docs/statistics.md).

CREATE TABLE learner_totals (    -- of one learner in one course
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL,
    course_id TEXT COLLATE "C" NOT NULL,
    sessions BIGINT NOT NULL,
    results BIGINT NOT NULL,
    points BIGINT NOT NULL,
    milliseconds BIGINT NOT NULL,
    names BIGINT NOT NULL,  -- how many rows learner_names has
    name_changes BIGINT NOT NULL,  -- how often it gained or lost one; never falls
    PRIMARY KEY (bucket, learner_id, course_id)
) WITH (fillfactor = 80);

CREATE TABLE learner_names (     -- module names with a result of this learner in this course
    bucket BIGINT NOT NULL,
    learner_id TEXT COLLATE "C" NOT NULL,
    course_id TEXT COLLATE "C" NOT NULL,
    module_name TEXT COLLATE "C" NOT NULL,
    results BIGINT NOT NULL,
    PRIMARY KEY (bucket, learner_id, course_id, module_name)
);

CREATE TABLE course_totals (     -- of the learners of one bucket in one course
    course_id TEXT COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    results BIGINT NOT NULL,
    points BIGINT NOT NULL,
    milliseconds BIGINT NOT NULL,
    name_changes BIGINT NOT NULL,  -- how often course_names gained or lost a row here; never falls
    PRIMARY KEY (course_id, bucket)
) WITH (fillfactor = 80);

CREATE TABLE course_names (      -- module names with a result of any learner of the bucket in this course
    course_id TEXT COLLATE "C" NOT NULL,
    module_name TEXT COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    learners BIGINT NOT NULL,
    PRIMARY KEY (course_id, module_name, bucket)
);
