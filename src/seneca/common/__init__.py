"""Helpers that do not depend on the domain: identifiers, times, scores, text, JSON, files."""
