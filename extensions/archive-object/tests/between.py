"""A server between an archive and its bucket, that fails, dawdles and lies when it is told to."""

from __future__ import annotations

import http.client
import threading
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Manner(Enum):
    """How it behaves."""

    WELL = "passes everything on"
    FAILING = "answers 500"
    BUSY = "answers 503"
    REFUSING = "answers 403"
    SILENT = "takes requests and says nothing"
    LYING = "changes a byte of what it gives back"
    LOSING = "cuts off in the middle of what it gives back"


class Between:
    """Listens on loopback for as long as its block lasts."""

    def __init__(self, port: int) -> None:
        self.manner = Manner.WELL
        self.requests = 0  # all that came
        self._ended = threading.Event()
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

            def handle_any(self) -> None:
                between.requests += 1
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                match between.manner:
                    case Manner.FAILING:
                        self._answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
                    case Manner.BUSY:
                        self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
                    case Manner.REFUSING:
                        self._answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
                    case Manner.SILENT:
                        between._ended.wait(60)
                        self.close_connection = True
                    case _:
                        self._pass_on(body)

            def _pass_on(self, body: bytes) -> None:
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    server.request(self.command, self.path, body, dict(self.headers.items()))
                    reply = server.getresponse()
                    data = reply.read()
                finally:
                    server.close()
                headers = dict(reply.getheaders())
                is_object = self.command == "GET" and reply.status in (200, 206) and data
                if is_object and "list-type" not in self.path:
                    if between.manner is Manner.LYING:
                        data = data[:-1] + bytes([data[-1] ^ 1])
                    if between.manner is Manner.LOSING:
                        self._answer(reply.status, headers, data, sent=len(data) // 2)
                        self.close_connection = True
                        return
                self._answer(reply.status, headers, data)

            def _answer(
                self, status: int, headers: dict[str, str], data: bytes, sent: int | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[:sent])

        for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
