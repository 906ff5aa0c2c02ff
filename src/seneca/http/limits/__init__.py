"""Limits on what slow, greedy or many clients may take."""
