"""Statistics: the totals that are kept, the queries that read them, the proof that they are true."""
