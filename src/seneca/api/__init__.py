"""The JSON door: one module per resource, each route shaped here and done by a concept."""
