"""One arm as a real server: uvicorn on a port the system chooses, which is printed when it listens.

python -m asgi_questions.served NAME
"""

from __future__ import annotations

import socket
import sys

from asgi_questions.apps import BARE, Wrap, bare, peers, perfkit
from asgi_questions.payloads import SIZES, payload


def main(name: str) -> None:
    """Serve 10 kB of orders through the middleware of this name until the process is told to end."""
    import uvicorn

    wraps: dict[str, Wrap] = {BARE: lambda app: app, **perfkit(), **peers({})}
    app = wraps[name](bare(payload("orders", SIZES["10 kB"])))
    # Named as TCP, for asyncio sends small writes at once (TCP_NODELAY) on such sockets alone.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
