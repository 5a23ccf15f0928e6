"""An HTTP endpoint in a process of its own, which does what the path of a request says and remembers the requests."""

import argparse
import contextlib
import gzip
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen


class Endpoint(BaseHTTPRequestHandler):
    """Paths: /status/N, /echo, /sequence/N/N/..., /slow/S, /trickle, /huge/N, /gzip, /close, /circle, /redirect/N.

    `/sequence/503/200` responds with the first status to the first request of an Idempotency-Key, and so on. Each of
    the parameters `body`, `retry-after`, `type` and `to` (for redirects) sets that of the response.
    """

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list[dict[str, Any]]] = []

    def _serve(self) -> None:
        url = urlsplit(self.path)
        wanted = {name: values[-1] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        what, *parts = url.path.strip("/").split("/")
        if what == "requests":
            self._respond(200, json.dumps(self.requests).encode())
            return
        seen = {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body}
        self.requests.append(seen)
        match what:
            case "status":
                self._respond(int(parts[0]), wanted.get("body", "{}").encode(), wanted)
            case "echo":
                self._respond(200, json.dumps(seen).encode(), wanted)
            case "sequence":
                key = self.headers.get("Idempotency-Key")
                count = sum(one["headers"].get("Idempotency-Key") == key for one in self.requests)
                self._respond(int(parts[min(count, len(parts)) - 1]), wanted.get("body", "{}").encode(), wanted)
            case "slow":
                time.sleep(float(parts[0]))
                self._respond(200, b"{}")
            case "trickle":
                self._trickle()
            case "huge":
                self._respond(200, b"x" * int(parts[0]))
            case "gzip":
                self._respond(200, gzip.compress(b"{}"), {"content-encoding": "gzip"})
            case "redirect":
                self._respond(int(parts[0]), b"", {"location": wanted["to"]})
            case "circle":
                self._respond(302, b"", {"location": "/circle"})
            case "close":
                self.close_connection = True
            case _:
                self._respond(404, b"")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of the standard library

    def _respond(self, status: int, body: bytes, wanted: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", (wanted or {}).get("type", "application/json"))
        for name in ("retry-after", "location", "content-encoding"):
            if wanted and name in wanted:
                self.send_header(name, wanted[name])
        self.end_headers()
        self.wfile.write(body)

    def _trickle(self) -> None:
        """Send a byte now and then, so that no single read takes long."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@dataclass(frozen=True)
class RunningEndpoint:
    """An endpoint that runs.

    Attributes:
        port: The port of 127.0.0.1.
        process: Its process.
    """

    port: int
    process: subprocess.Popen[str]

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Return the URL of a path."""
        return f"{scheme}://{host}:{self.port}{path}"

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests so far; only of an endpoint without TLS."""
        with urlopen(self.url("/requests"), timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found


@contextmanager
def running_endpoint(certificate: Path | None = None, port: int = 0) -> Iterator[RunningEndpoint]:
    """Run an endpoint on a free port, and end it.

    Args:
        certificate: A PEM file with certificate and key, for TLS.
        port: A port to use again.
    """
    arguments = ["--port", str(port), *(["--certificate", str(certificate)] if certificate else [])]
    command = [sys.executable, "-m", "tests.support.http_endpoint", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield RunningEndpoint(int(process.stdout.readline()), process)
        finally:
            process.kill()


def main() -> None:
    """Serve until killed, after the port was printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate")
    given = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Endpoint)
    if given.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
