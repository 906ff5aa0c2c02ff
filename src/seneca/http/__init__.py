"""What every HTTP route shares: authentication, requests, responses, errors, limits."""
