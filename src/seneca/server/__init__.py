"""The processes of `seneca serve`: the main process, and what its workers share."""
