"""The floor under every figure: a route that does nothing, in a bare Litestar on Granian, run as Seneca runs it."""

import os

from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import Server
from litestar import Litestar, get
from litestar.response.base import ASGIResponse

from seneca.server import BACKLOG


@get("/health")
async def health() -> ASGIResponse:
    """Answer."""
    return ASGIResponse(body=b"OK", media_type="text/plain")


app = Litestar([health], openapi_config=None, logging_config=None)


def main() -> None:
    """Serve on ``FLOOR_PORT`` with ``FLOOR_WORKERS`` processes and the options of ``seneca.server``."""
    Server(
        "bench.floor:app",
        address="127.0.0.1",
        port=int(os.environ["FLOOR_PORT"]),
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=int(os.environ["FLOOR_WORKERS"]),
        backlog=BACKLOG,
        backpressure=BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        websockets=False,
    ).serve()


if __name__ == "__main__":
    main()
