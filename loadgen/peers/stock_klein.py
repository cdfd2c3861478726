"""Klein as its tutorial has it: twisted.web's own channel, the epoll reactor."""

import json
import sys
from typing import Any

from klein import Klein

from loadgen.peers.records import answer, open_database

app = Klein()
_db = open_database()


@app.route("/api/ip_query")
def ip_query(request: Any) -> bytes:
    """Answer a look-up."""
    request.setHeader(b"Content-Type", b"application/json")
    try:
        found = answer(_db, request.args[b"ip"][0].decode())
    except (KeyError, ValueError):
        request.setResponseCode(400)
        return b""
    if found is None:
        request.setResponseCode(501)
        return b""
    return json.dumps(found, ensure_ascii=False).encode()


if __name__ == "__main__":
    # Its access log would go to standard output for every request.
    app.run("127.0.0.1", int(sys.argv[1]), logFile=open("/dev/null", "w"))  # noqa: SIM115
