"""The SQLite engine, embedded in the process."""
