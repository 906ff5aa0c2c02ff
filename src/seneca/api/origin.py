"""Where a request comes from."""

from seneca.api.services import Connection


def client_address(connection: Connection) -> str:
    """The network address of the client."""
    return connection.client.host if connection.client else ""
