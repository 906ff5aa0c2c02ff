"""Signing in: a row for each, tokens that name it, and how it ends everywhere within seconds."""
