"""The engine that several servers share."""
