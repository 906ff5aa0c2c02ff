-- A course's own marks, in thousandths; NULL: the school's.

ALTER TABLE courses ADD COLUMN pass_mark BIGINT;
ALTER TABLE courses ADD COLUMN full_mark BIGINT;
