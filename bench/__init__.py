"""The benchmarks: ``python -m bench`` measures Seneca, ``python -m bench --rivals`` sets PocketBase beside it.

What is measured, and why so, is said in ``docs/performance.md``.
"""
