"""Tiny students, served over HTTP on loopback in a thread of this process."""

import json
import socket
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import uvicorn
from checkpoints import make

from understudy.pipeline.card import Card, write_card
from understudy.serving.server import ServerOptions, Service
from understudy.serving.students import open_students

KNOWN = "How many coins has Ana?"
SAYS = " She has 4. So the answer is: 4\n\n"


def make_student(directory, method="scotd", roles=("student",), *, seed=0, kind="number", options=None, knows=(), **card):
    """A student, or one of each of several ``roles`` in a bundle; ``card``: more of what its card says."""
    known = {"max_tokens": 16} if options is None else options
    student = Card(method, known, roles[0], kind, "float32", seed, **card)
    if len(roles) == 1:
        make("gpt2", directory, knows=knows)
        write_card(directory, student)
        return directory
    directory.mkdir()
    for i, role in enumerate(roles):
        make("gpt2", directory / role, seed=i)
        write_card(directory / role, Card(method, known, role, kind, "float32", seed))
    write_card(directory, Card(method, known, "", kind, "float32", seed, students=tuple(roles), **card))
    return directory


class Served:
    """A server that runs: ``post`` and ``get`` give (status, body)."""

    def __init__(self, url, service):
        self.url, self.service = url, service

    def get(self, path, key=""):
        return self._send(urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {key}"}))

    def post(self, path, body, key="", **more):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", **more}
        return self._send(urllib.request.Request(self.url + path, data, headers))

    def chat(self, model, question, **more):
        status, body = self.post(
            "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": question}], **more}
        )
        assert status == 200, body
        return body

    def complete(self, model, prompt, **more):
        status, body = self.post("/v1/completions", {"model": model, "prompt": prompt, **more})
        assert status == 200, body
        return body

    @staticmethod
    def _send(request):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read().decode()
                return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else text
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@contextmanager
def serving(*directories, students=None, teacher=None, **options):
    service = Service(students or open_students(directories), ServerOptions(**options), teacher)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        server = uvicorn.Server(uvicorn.Config(service.app, log_level="warning", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", service)
        finally:
            server.should_exit = True
            thread.join(30)
            service.board.stop()
