"""Study sessions: a learner's work on a course, with results for each module.

Queries enforce authorisation: learners' queries select sessions by learner, so that another learner's session looks like one
that does not exist.
"""
