"""Study sessions: one learner's study of one course, and the results of its modules.

Fetching is authorising: a session is only ever found under its learner, so that another learner's
looks like one that does not exist.
"""
