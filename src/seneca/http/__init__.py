"""What all HTTP routes share: authentication, requests, responses, errors and limits."""
