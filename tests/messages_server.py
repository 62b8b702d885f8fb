"""A server on loopback that speaks the Messages protocol; a script stands behind it in the place of a model.

As a process: `python tests/messages_server.py --script module:function` prints its port, and writes one JSON line per
request into the file of `--log`. The script is a callable from a request's body to a Reply.
"""

import argparse
import hashlib
import json
import socket
import struct
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any, Self, cast

from messages_replies import Reply, Researcher, error, error_body, events, refusal, text, tools
from messages_rules import COUNTED, WrongRequestError, check, count
from messages_service import Service

__all__ = ["KEY", "Exchange", "MessagesServer", "Reply", "Researcher", "error", "refusal", "text", "tools"]

KEY = "sk-ant-loopback-0123456789"
MAX_BYTES = 32 << 20


@dataclass
class Exchange:
    """One request to the server; `sent`: whether its answer went out to the last byte; `request_id`: its name there."""

    path: str
    body: dict[str, Any]
    reply: Reply | None = None
    status: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    sent: bool = False
    request_id: str = ""


class MessagesServer(Service):
    """The service, in threads of this process, until closed. Usable in a `with` block.

    exchanges: every request in the order of its arrival; without `keep` only how it ended. failures: by the end of a
    path, what the next requests to it get whatever the script says: an error; a page, where the status is 200; what
    they would have got, but cut off, where only a drop amid the answer is asked for. drip: until it is set, a stream
    gives signs of life and no more; None for none of that. batch_polls: how often a batch is looked at before it has
    ended. log: a file that gets a JSON line for each request when it was served.
    """

    def __init__(
        self,
        script: Researcher,
        *,
        port: int = 0,
        key: str = KEY,
        models: frozenset[str] | None = None,
        context_tokens: int = 1_000_000,
        batch_polls: int = 1,
        log: Path | None = None,
        keep: bool = True,
    ) -> None:
        """Start to listen."""
        super().__init__(script, models, context_tokens, batch_polls)
        self.key, self.log, self.keep = key, log, keep
        self.exchanges: list[Exchange] = []
        self.failures: dict[str, list[Reply]] = {}
        self.drip: threading.Event | None = None
        self._http = _Server(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """The base URL for the SDK."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str = "/v1/messages") -> list[Exchange]:
        """The requests to one path."""
        return [one for one in self.exchanges if one.path == path]

    def close(self) -> None:
        """Stop listening; what is being answered goes on."""
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> Self:
        """Use the server in a `with` block that closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self.close()

    def note(self, exchange: Exchange) -> None:
        """Keep what became of a request, and forget the rest where that is wanted."""
        line = {name: getattr(exchange, name) for name in ("path", "status", "sent", "usage")}
        whole = json.dumps(exchange.body, sort_keys=True).encode()
        line["digest"] = hashlib.blake2b(whole, digest_size=8).hexdigest()
        if not self.keep:
            exchange.body, exchange.reply = {}, None
        if self.log is not None:
            with self.lock, self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: MessagesServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, as killed ones do, is no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cut: Reply | None = None

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    @property
    def owner(self) -> MessagesServer:
        """The server."""
        return cast(_Server, self.server).owner

    def do_POST(self) -> None:
        """Messages, counts and batches."""
        size = int(self.headers.get("content-length", 0))
        raw = self.rfile.read(size)
        exchange = Exchange(self.path, json.loads(raw) if raw and size <= MAX_BYTES else {})
        with self.owner.lock:
            self.owner.exchanges.append(exchange)
        try:
            self._serve(exchange, size)
        finally:
            self.owner.note(exchange)

    def do_GET(self) -> None:
        """Which batches there are, how one stands, and its results."""
        exchange = Exchange(self.path, {})
        with self.owner.lock:
            self.owner.exchanges.append(exchange)
        if self._failed(exchange):
            return
        if self.path.partition("?")[0] == "/v1/messages/batches" and self._known_key():
            self._json(exchange, 200, self.owner.list_batches(self.owner.url))
            return
        name, _, rest = self.path.removeprefix("/v1/messages/batches/").partition("/")
        batch = self.owner.batches.get(name)
        if not self._known_key():
            self._error(exchange, error(401))
        elif batch is None:
            self._error(exchange, error(404, f"batch {name} not found"))
        elif rest == "results":
            lines = "".join(json.dumps(one) + "\n" for one in batch["results"])
            self._send(exchange, 200, lines.encode(), "application/binary")
        else:
            self._json(exchange, 200, self.owner.look_at_batch(name, self.owner.url))

    def _serve(self, exchange: Exchange, size: int) -> None:
        path = exchange.path
        if self._failed(exchange):
            return
        if not self._known_key():
            self._error(exchange, error(401))
        elif size > MAX_BYTES:
            self._error(exchange, error(413))
        elif path == "/v1/messages":
            self._messages(exchange)
        elif path == "/v1/messages/count_tokens":
            self._count(exchange)
        elif path == "/v1/messages/batches":
            self._batch(exchange)
        elif path.startswith("/v1/messages/batches/") and path.endswith("/cancel"):
            self._json(exchange, 200, self.owner.cancel_batch(path.split("/")[4], self.owner.url))
        else:
            self._error(exchange, error(404, f"{path} not found"))

    def _failed(self, exchange: Exchange) -> bool:
        waiting = next((left for end, left in self.owner.failures.items() if self.path.endswith(end) and left), None)
        if waiting is None:
            return False
        reply = waiting.pop(0)
        if reply.drop == "before":
            self._drop()
            return True
        self.cut = reply if reply.drop else None
        if reply.status == 200:
            self._send(exchange, 200, (reply.message or "").encode(), "text/html")
        elif reply.status or not reply.drop:
            self._error(exchange, reply)
        return not reply.drop or reply.status is not None

    def _known_key(self) -> bool:
        given = self.headers.get("authorization", "").removeprefix("Bearer ") or self.headers.get("x-api-key", "")
        return given == self.owner.key and "anthropic-version" in self.headers

    def _messages(self, exchange: Exchange) -> None:
        reply, exchange.usage = self.owner.answer(exchange.body)
        exchange.reply = reply
        if reply.gate is not None:
            reply.gate.wait()
        if reply.drop == "before":
            self._drop()
        elif reply.status is not None:
            self._error(exchange, reply)
        elif exchange.body.get("stream"):
            self._stream(exchange, reply)
        else:
            self._json(exchange, 200, self.owner.message(exchange.body, reply, exchange.usage))

    def _count(self, exchange: Exchange) -> None:
        try:
            check(exchange.body, COUNTED)
        except WrongRequestError as wrong:
            self._error(exchange, error(400, str(wrong)))
        else:
            self._json(exchange, 200, {"input_tokens": count(exchange.body)})

    def _stream(self, exchange: Exchange, reply: Reply) -> None:
        message = self.owner.message(exchange.body, reply, exchange.usage)
        self._head(exchange, 200, "text/event-stream", {"transfer-encoding": "chunked"})
        whole = list(events(message, reply))
        cut = reply.stream_error or reply.drop
        for event in whole[: max(2, len(whole) - 3)] if cut else whole:
            self._event(event)
            self._drip()
        if reply.stream_error:
            self._event({"type": "error", "error": {"type": reply.stream_error, "message": "Overloaded"}})
        if reply.drop:
            self._drop()
            return
        self._finish(exchange, b"0\r\n\r\n", sent=not reply.stream_error)

    def _drip(self) -> None:
        drip = self.owner.drip
        while drip is not None and not drip.wait(0.1):
            self._event({"type": "ping"})

    def _event(self, event: dict[str, Any]) -> None:
        data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _batch(self, exchange: Exchange) -> None:
        try:
            state = self.owner.make_batch(exchange.body.get("requests", []), self.owner.url)
        except WrongRequestError as wrong:
            self._error(exchange, error(400, str(wrong)))
        else:
            self._json(exchange, 200, state)

    def _json(self, exchange: Exchange, status: int, body: dict[str, Any]) -> None:
        self._send(exchange, status, json.dumps(body).encode(), "application/json")

    def _error(self, exchange: Exchange, reply: Reply) -> None:
        request_id = self.owner.next_id("req")
        body = json.dumps(error_body(reply, request_id)).encode()
        self._send(exchange, reply.status or 500, body, "application/json", {"request-id": request_id, **reply.headers})

    def _send(
        self, exchange: Exchange, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        cut = self.cut
        if cut is not None and cut.gate is not None:
            cut.gate.wait()
        self._head(exchange, status, kind, {"content-length": str(len(body)), **(headers or {})})
        if cut is not None:
            body, self.close_connection = body[: len(body) // 2], True
        self._finish(exchange, body, sent=cut is None)

    def _finish(self, exchange: Exchange, end: bytes, *, sent: bool = True) -> None:
        # Set first: who has read the last byte may look at once.
        exchange.sent = sent
        try:
            self.wfile.write(end)
            self.wfile.flush()
        except OSError:
            exchange.sent = False
            raise

    def _head(self, exchange: Exchange, status: int, kind: str, headers: dict[str, str]) -> None:
        exchange.status, exchange.request_id = status, headers.get("request-id") or self.owner.next_id("req")
        self.send_response(status)
        self.send_header("content-type", kind)
        for name, value in {"request-id": exchange.request_id, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _drop(self) -> None:
        # Closing with unsent data thrown away, so that the peer sees a reset and not an end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def main() -> None:
    """Serve as a process of its own until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", required=True, help="module:callable, from a request to a Reply")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--key", default=KEY)
    given = parser.parse_args()
    module, _, name = given.script.partition(":")
    server = MessagesServer(
        getattr(import_module(module), name), port=given.port, key=given.key, log=given.log, keep=False
    )
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
