"""The PostgreSQL engine, which several servers can share."""
