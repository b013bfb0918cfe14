"""A web server that answers ranges of one file, in a process of its own, and counts them.

Of its own, because GDAL waits for answers with Python's lock held.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path

Counts = SynchronizedArray
#: Entries of the counts: bytes sent, and answers without a range.
SENT, WHOLE = 0, 1


class Server(ThreadingHTTPServer):
    """Serves one file in ranges, once it is there, and counts what it sends."""

    def __init__(self, path: Path, counts: Counts) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.file, self.name, self.counts = path, path.name, counts


class Handler(BaseHTTPRequestHandler):
    """Answers HEAD and GET, with ranges."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        if self.path != f"/{self.server.name}" or not self.server.file.exists():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range")
        start, stop = 0, (size := self.server.file.stat().st_size)
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), min(size, int(last or size) + 1)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        if with_body:
            with self.server.counts.get_lock():
                self.server.counts[SENT] += stop - start
                self.server.counts[WHOLE] += not asked
            with self.server.file.open("rb") as content:
                content.seek(start)
                self.wfile.write(content.read(stop - start))

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def serve(path: Path, counts: Counts, port: Connection) -> None:
    """Serve until killed."""
    server = Server(path, counts)
    port.send(server.server_address[1])
    server.serve_forever()


@contextmanager
def serving(path: Path) -> Iterator[tuple[str, Counts]]:
    """Give the address of a file that is served meanwhile, and the counts."""
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 2)
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(path, counts, there))
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/{path.name}", counts
    finally:
        process.kill()
        process.join()
        here.close()
        there.close()
