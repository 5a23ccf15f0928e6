"""An HTTP endpoint in a process of its own, which does what the path of a request says and remembers the requests."""

import argparse
import contextlib
import gzip
import json
import ssl
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen


class Endpoint(BaseHTTPRequestHandler):
    """What it does by path: the methods `on_...`, with dashes for underscores and parameters after slashes.

    Each of the query parameters `body`, `retry-after`, `type` and `to` (for redirects) sets that of the response.
    """

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list[dict[str, Any]]] = []
    released: ClassVar[defaultdict[str, Event]] = defaultdict(Event)

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.wanted = {name: values[-1] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        what, *parts = url.path.strip("/").split("/")
        if what == "requests":
            self._respond(200, json.dumps(self.requests).encode())
            return
        seen = {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body}
        self.seen = seen
        self.requests.append(seen)
        on_path = getattr(self, f"on_{what.replace('-', '_')}", None)
        if on_path is None:
            self._respond(404, b"")
        else:
            on_path(*parts)

    def on_status(self, status: str) -> None:
        """Respond with a status."""
        self._respond(int(status), self.wanted.get("body", "{}").encode())

    def on_echo(self, *_: str) -> None:
        """Respond with the request."""
        self._respond(200, json.dumps(self.seen).encode())

    def on_sequence(self, *statuses: str) -> None:
        """Respond with the first status to the first request of an Idempotency-Key, and so on."""
        key = self.headers.get("Idempotency-Key")
        count = sum(one["headers"].get("Idempotency-Key") == key for one in self.requests)
        self.on_status(statuses[min(count, len(statuses)) - 1])

    def on_slow(self, seconds: str) -> None:
        """Respond late."""
        time.sleep(float(seconds))
        self.on_status("200")

    def on_slow_once(self, *_: str) -> None:
        """Respond late to the first request of a path."""
        self.on_slow("60" if sum(one["path"] == self.path for one in self.requests) == 1 else "0")

    def on_held(self, name: str) -> None:
        """Respond once the name is released."""
        self.released[name].wait()
        self.on_status("200")

    def on_release(self, name: str) -> None:
        """Let the requests that wait for a name have their response."""
        self.released[name].set()
        self.on_status("200")

    def on_trickle(self) -> None:
        """Send a byte now and then, so that no single read takes long."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)

    def on_huge(self, size: str) -> None:
        """Respond with so many bytes."""
        self._respond(200, b"x" * int(size))

    def on_gzip(self) -> None:
        """Respond with a compressed body."""
        self.wanted["content-encoding"] = "gzip"
        self._respond(200, gzip.compress(b"{}"))

    def on_redirect(self, status: str) -> None:
        """Lead to another URL."""
        self.wanted["location"] = self.wanted["to"]
        self._respond(int(status), b"")

    def on_circle(self) -> None:
        """Lead here again."""
        self.wanted["location"] = "/circle"
        self._respond(302, b"")

    def on_close(self) -> None:
        """Hang up."""
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of the standard library

    def _respond(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", self.wanted.get("type", "application/json"))
        for name in ("retry-after", "location", "content-encoding"):
            if name in self.wanted:
                self.send_header(name, self.wanted[name])
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

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
