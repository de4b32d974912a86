"""One page for one person: a server on this machine's loopback address, behind a token.

The token is part of every address, so that other programs and pages cannot guess one. Requests must
name this host, against pages that point a name of theirs here, and those that change something
must come from the page itself.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import webbrowser
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tll_utils.errors import TllError

# What answers a POST: takes the JSON that was sent, gives what is sent back.
Action = Callable[[dict[str, Any]], dict[str, Any]]

MAX_BODY = 10_000  # bytes
_PICTURE = re.compile(r"(?:report_)?pictures/([0-9a-f]+\.jpg)")


class Server(ThreadingHTTPServer):
    """Serves one page, its pictures, and what the page may ask for.

    Args:
        page: Makes the page anew for each visit.
        pictures: The folder of `<hash>.jpg` files.
        actions: What a POST to a name does; one at a time. `TllError` is shown to the person.

    Attributes:
        url: Where the page is, token included.
    """

    daemon_threads = True

    def __init__(
        self, page: Callable[[], str], pictures: Path, actions: Mapping[str, Action]
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page, self.pictures, self.actions = page, pictures, actions
        self.token, self.lock = secrets.token_urlsafe(24), threading.Lock()
        port = self.server_address[1]
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.url = f"http://127.0.0.1:{port}/{self.token}/"

    def run(self, *, browser: bool = True) -> None:
        """Serves until Ctrl-C."""
        print(f"Open {self.url}\nCtrl-C ends; every answer is saved as it is given.", flush=True)
        if browser:
            webbrowser.open(self.url)
        try:
            self.serve_forever()
        except KeyboardInterrupt:
            print()
        finally:
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 60  # a connection that says nothing is not kept

    def do_GET(self) -> None:
        name = self._name()
        if name is None:
            return
        if name == "":
            with self.server.lock:
                text = self.server.page()
            self._reply(200, text.encode(), "text/html; charset=utf-8")
            return
        found = _PICTURE.fullmatch(name)
        path = self.server.pictures / found[1] if found else None
        if path is not None and path.is_file():
            self._reply(200, path.read_bytes(), "image/jpeg")
        else:
            self._reply(404, b"Not found.")

    def do_POST(self) -> None:
        name = self._name()
        if name is None:
            return
        origin = self.headers.get("Origin", "")
        length = self.headers.get("Content-Length", "")
        kind = self.headers.get("Content-Type", "").partition(";")[0]
        if origin.removeprefix("http://") not in self.server.hosts or "//" not in origin:
            self._reply(403, b"Only the page itself may send answers.")
        elif name not in self.server.actions:
            self._reply(404, b"Not found.")
        elif kind != "application/json" or not length.isdecimal() or int(length) > MAX_BODY:
            self._reply(400, f"Expected JSON of at most {MAX_BODY} bytes.".encode())
        else:
            self._act(self.server.actions[name], self.rfile.read(int(length)))

    def _act(self, action: Action, body: bytes) -> None:
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise ValueError("expected an object")
            with self.server.lock:
                answer = action(asked)
        except (TllError, OSError) as error:  # refused, or the disk is full
            self._reply(409, str(error).encode())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._reply(400, f"Not understood ({type(error).__name__}).".encode())
        else:
            self._reply(200, json.dumps(answer).encode(), "application/json")

    def _name(self) -> str | None:
        """What is asked for below the token; None, and refused, if host or token are not ours."""
        start = f"/{self.server.token}/"
        path = self.path.partition("?")[0]
        if self.headers.get("Host") not in self.server.hosts:
            self._reply(403, b"This server is for this machine alone.")
        elif not secrets.compare_digest(path[: len(start)].encode(), start.encode()):
            self._reply(403, b"Open the address that the command printed, token included.")
        else:
            return path[len(start) :]
        return None

    def _reply(self, code: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",  # or a link would carry the token away
            "Cross-Origin-Resource-Policy": "same-origin",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for the person."""
