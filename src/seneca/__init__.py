"""Seneca: a record keeper for study."""
