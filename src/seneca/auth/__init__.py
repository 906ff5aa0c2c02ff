"""Authentication and authorisation: passwords, sign-ins, tokens and rate limits."""
