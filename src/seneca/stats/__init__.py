"""Statistics: stored totals, the queries that read them, and their verification."""
