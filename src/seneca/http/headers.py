"""Read a request's headers: one at a time, as they came, since the framework decodes all of them for the first."""

from seneca.http.app_state import Connection


def header(connection: Connection, name: bytes) -> str | None:
    """The first header of this name, which is in lower case, or None."""
    for key, value in connection.scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None
