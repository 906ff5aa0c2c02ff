-- Open sessions that may be forgotten. After the backfill of idle_since, which PostgreSQL does faster without an index of it.
CREATE INDEX open_sessions ON sessions (idle_since) WHERE ended_at IS NULL;
