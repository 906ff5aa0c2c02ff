"""The JSON API: one module per resource. Handlers read the request, call a domain module and shape the response."""
