"""A registry that has no image: every name that the cluster does not hold is honestly not found.

containerd asks it for whatever is missing, so that nothing is ever asked of a registry outside
this machine and an unknown image fails at once, in the words it would fail with anywhere.
Runs as a process of its own: `python3 registry.py ADDRESS PORT`.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class NoImages(BaseHTTPRequestHandler):
    """Speaks just enough of the distribution protocol to say no."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Confirm the protocol at /v2/, deny everything below it."""
        found = self.path.split("?")[0].rstrip("/") == "/v2"
        error = {"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}
        body = json.dumps({} if found else {"errors": [error]}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), NoImages).serve_forever()
