"""Limits on the memory, time and concurrency that slow, greedy or numerous clients can use."""
