"""A Hugging Face hub on this machine with one model, as far as `snapshot_download` asks one."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "2" * 40


@contextmanager
def serving(name: str, files: Path) -> Iterator[tuple[str, list[str]]]:
    """(address, the paths that were asked for) of a hub whose model ``name`` is the directory ``files``."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            found = [path.name for path in files.iterdir()]
            file = files / self.path.split("?")[0].split("/")[-1]
            if self.path.startswith(f"/api/models/{name}/tree/"):
                body = json.dumps(
                    [{"type": "file", "path": n, "size": (files / n).stat().st_size, "oid": n} for n in found]
                ).encode()
            elif self.path.startswith(f"/api/models/{name}"):
                body = json.dumps({"id": name, "sha": COMMIT, "siblings": [{"rfilename": n} for n in found]}).encode()
            elif self.path.startswith(f"/{name}/resolve/") and file.is_file():
                body = file.read_bytes()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            tag = hashlib.sha1(body).hexdigest()
            for key, value in (("Content-Length", str(len(body))), ("ETag", f'"{tag}"'), ("X-Repo-Commit", COMMIT)):
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
