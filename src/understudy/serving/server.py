"""An OpenAI-compatible server of students: chat and completions over HTTP, answered on one board (docs/serving.md)."""

import asyncio
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from understudy.core.asks import Call, Flow, Reply, SamplePath, T
from understudy.core.errors import BudgetError, EngineError, StudyError, TooLongError
from understudy.core.values import Problem
from understudy.sampling.pool import StudyPool
from understudy.serving.board import LiveBoard
from understudy.serving.bodies import AnyBody, ApiError, ChatBody, CompletionBody, read_body
from understudy.serving.port import open_port, run_app
from understudy.serving.replies import JsonObject, make_choice, make_text_choice, replace_choice, score, wrap, write_partial
from understudy.serving.stream import Stream
from understudy.serving.students import ServedStudent, find_student
from understudy.serving.teacher import ServedTeacher
from understudy.serving.view import LOOPBACK

B = TypeVar("B", bound=AnyBody)
Answering = Callable[[HttpRequest, B, Stream | None], Coroutine[Any, Any, JsonObject]]
"""(request, its body, the stream that gets the text as it is written) -> the whole answer"""


class ServerOptions(NamedTuple):
    """The server listens at ``host`` and ``port`` (0: any free port). ``key``: what clients must send, "" for nothing. It answers
    ``max_requests`` at once, each within ``timeout`` seconds. In a cascade the student answers if at least the share ``agreement``
    of its votes is for one answer."""

    host: str = "127.0.0.1"
    port: int = 8000
    key: str = ""
    max_requests: int = 1024
    timeout: float = 600
    agreement: float = 0.75


class Service:
    """The handlers of one server over its ``students``, and the ``teacher`` of their cascades."""

    def __init__(self, students: Mapping[str, ServedStudent], options: ServerOptions, teacher: ServedTeacher | None = None) -> None:
        self.students, self.options, self.teacher, self.started = students, options, teacher, int(time.time())
        self.engines = {s.role(part): engine for s in students.values() for part, engine in s.bundle.engines.items()}
        self.board = LiveBoard(self.engines)
        self.under_way: set[asyncio.Future[JsonObject]] = set()

    @property
    def app(self) -> Starlette:
        routes = [
            Route("/v1/chat/completions", partial(self._answer, ChatBody, self._chat), methods=["POST"]),
            Route("/v1/completions", partial(self._answer, CompletionBody, self._complete), methods=["POST"]),
            Route("/v1/models", self._list_models),
            Route("/v1/models/{name}", self._list_models),
            Route("/health", self._report_health),
        ]
        refused = (ApiError, HTTPException, ClientDisconnect, Exception)
        return Starlette(routes=routes, exception_handlers=dict.fromkeys(refused, _refuse))

    def load(self) -> None:
        """Load the weights. Raises CheckpointError or EngineError if a student cannot answer."""
        self.board.submit(SamplePath("load"), _ask([Call(role, "A", max_tokens=1) for role in self.engines])).result()

    async def _answer(self, kind: type[B], answer: Answering[B], request: HttpRequest) -> Response:
        """Read a body of ``kind`` and send the result of ``answer``."""
        self._check_key(request)
        body = await read_body(request, kind)
        if (n := len(self.under_way)) >= self.options.max_requests:
            raise ApiError(429, f"{n} requests are under way, as many as --max-requests allows; try again later")
        stream = Stream(body.model, chat=kind is ChatBody) if body.stream else None
        answering = asyncio.ensure_future(answer(request, body, stream))
        self.under_way.add(answering)
        answering.add_done_callback(self.under_way.discard)
        if stream is None:
            return Response(orjson.dumps(await answering), media_type="application/json")
        events = stream.events(answering, body.stream_options)
        # Await the first event here, so that an error before it has its own status.
        return StreamingResponse(_prepend(await anext(events), events), media_type="text/event-stream")

    async def _chat(self, request: HttpRequest, body: ChatBody, stream: Stream | None) -> JsonObject:
        """Answer the question of ``body`` with the student, as in its evaluation."""
        student = self._find(body.model).settle(body)
        problem = Problem("question", body.question, student.bundle.card.kind, choices=body.choices, form=student.bundle.card.form)
        votes, method = student.decode.votes, student.bundle.method
        paths = [SamplePath(problem.id, i, student.seed(body)) for i in range(body.n * votes)]
        # With several votes or turns, or a teacher, it is not known yet which will be the answer.
        streams = votes == 1 == len(student.bundle.engines) and not student.cascades
        read = partial(write_partial, problem, body.reasoning_format) if streams else None
        flows = []
        for path in paths:
            hear = stream.listen(path.index, read) if stream and read else None
            flows.append(student.amend(method.solve(problem, path, StudyPool()), body, hear))
        solutions = await self._wait(request, list(map(self.board.submit, paths, flows)))
        groups = [solutions[i : i + votes] for i in range(0, len(solutions), votes)]
        choices = [make_choice(i, problem, group, student.decode, body.reasoning_format) for i, group in enumerate(groups)]
        used = max(s.prompt_tokens for s in solutions), sum(s.tokens for s in solutions)
        if student.cascades and self.teacher:
            unsure = [i for i, choice in enumerate(choices) if choice["understudy"]["agreement"] < self.options.agreement]
            chains = await self._wait(request, [self.teacher.ask(problem)] if unsure else [])
            for choice in choices:
                choice["understudy"]["answered_by"] = "student"
            for i in unsure:
                choices[i] = replace_choice(choices[i], problem, chains[0], body.reasoning_format)
            used = used[0] + sum(c.prompt_tokens or 0 for c in chains), used[1] + sum(c.tokens or 0 for c in chains)
        return wrap("chat.completion", body.model, choices, *used)

    def _find(self, name: str) -> ServedStudent:
        return find_student(self.students, name, teacher=self.teacher is not None)

    async def _complete(self, request: HttpRequest, body: CompletionBody, stream: Stream | None) -> JsonObject:
        """Continue raw text with one model, or score given text."""
        student = self._find(body.model).settle(body)
        (part, engine), *rest = student.bundle.engines.items()
        if body.model not in self.students or any(model is not engine for _, model in rest):
            raise ApiError(400, f"{body.model!r} is not a single model that continues text: use /v1/chat/completions", "model")
        if body.logprobs is not None:
            (scores,) = await self._wait(request, [self.board.submit(SamplePath("text"), score(engine, body))])
            return wrap("text_completion", body.model, *scores)

        def call(index: int, prompt: str, i: int) -> Call:
            prefix = prompt if body.echo else ""
            hear = stream.listen(index * body.n + i, lambda text: {"text": prefix + text}) if stream else None
            return Call(part, prompt, max_tokens=body.max_tokens, hear=hear)

        calls = [[call(index, prompt, i) for index, prompt in enumerate(body.texts)] for i in range(body.n)]
        futures = [self.board.submit(SamplePath("text", i), student.amend(_ask(group), body)) for i, group in enumerate(calls)]
        replies = list(zip(*await self._wait(request, futures), strict=True))
        pairs = [(prompt, reply) for prompt, group in zip(body.texts, replies, strict=True) for reply in group]
        choices = [make_text_choice(i, prompt if body.echo else "", reply) for i, (prompt, reply) in enumerate(pairs)]
        read = sum(first.prompt_tokens or 0 for first, *_ in replies)
        return wrap("text_completion", body.model, choices, read, sum(reply.tokens or 0 for _, reply in pairs))

    async def _list_models(self, request: HttpRequest) -> Response:
        self._check_key(request)
        if name := request.path_params.get("name"):
            return JSONResponse(self._describe(name))
        names = [f"{base}{tail}" for base in self.students for tail in ("", "-vote8", *(["-cascade"] if self.teacher else []))]
        return JSONResponse({"object": "list", "data": list(map(self._describe, names))})

    def _describe(self, name: str) -> JsonObject:
        card = self._find(name).bundle.card
        details = {key: getattr(card, key) for key in ("method", "kind", "terms", "licence", "lineage")}
        return {"id": name, "object": "model", "created": self.started, "owned_by": "understudy", "understudy": details}

    async def _report_health(self, _: HttpRequest) -> Response:
        return JSONResponse({"status": "ok", "requests": len(self.under_way)})

    def _check_key(self, request: HttpRequest) -> None:
        if not self.options.key and urlsplit(request.headers.get("origin", "//localhost")).hostname not in LOOPBACK:
            raise ApiError(403, "sent by another site's page; start the server with a key (--key-env) to allow it")
        key = re.sub("(?i)^bearer ", "", request.headers.get("authorization", ""))
        if self.options.key and not secrets.compare_digest(key.encode("latin-1"), self.options.key.encode()):
            raise ApiError(401, "send the server's key: Authorization: Bearer KEY", code="invalid_api_key")

    async def _wait(self, request: HttpRequest, futures: Sequence[Future[T]]) -> list[T]:
        """Await the results of ``futures``. If the client leaves or the timeout ends, requests that have not begun are dropped."""
        results = asyncio.gather(*map(asyncio.wrap_future, futures))
        results.add_done_callback(lambda done: done.cancelled() or done.exception())  # no warning if the client has left
        departure = asyncio.ensure_future(_await_departure(request))
        tasks: set[asyncio.Future[Any]] = {results, departure}
        try:
            await asyncio.wait(tasks, timeout=self.options.timeout, return_when=asyncio.FIRST_COMPLETED)
            if results.done():
                return results.result()
        except (TooLongError, StudyError) as error:
            raise ApiError(400, str(error), code="context_length_exceeded" if isinstance(error, TooLongError) else "") from None
        except EngineError as error:
            raise ApiError(402 if isinstance(error, BudgetError) else 503, str(error)) from None
        finally:
            results.cancel()
            departure.cancel()
        raise ApiError(503, f"no answer within {self.options.timeout:g} s; ask for less, or try later", code="timeout")


def serve(
    students: Mapping[str, ServedStudent], options: ServerOptions, started: Callable[[str], None], teacher: Path | None = None
) -> None:
    """Serve ``students`` until SIGINT or SIGTERM; ``started`` is called with the address. ``teacher``: the TOML file of the teacher
    that their cascades ask. Raises UserError if it cannot listen there, or cannot ask that teacher."""
    with open_port(options.host, options.port) as port, ExitStack() as stack:
        asked = stack.enter_context(closing(ServedTeacher(teacher, lambda line: print(line, file=sys.stderr)))) if teacher else None
        service = Service(students, options, asked)
        service.load()
        stack.callback(service.board.stop)
        run_app(service.app, port, lambda url: started(f"{url}/v1"))


def _ask(calls: list[Call]) -> Flow[list[Reply]]:
    replies: list[Reply] = yield calls
    return replies


async def _prepend(first: bytes, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in events:
        yield event


async def _await_departure(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refuse(_: HttpRequest, error: Exception) -> Response:
    """Respond with an error in OpenAI's form."""
    if isinstance(error, HTTPException):
        error = ApiError(error.status_code, str(error.detail))
    if not isinstance(error, ApiError):
        error = ApiError(500, f"{type(error).__name__}: the server's own output says more")
    return JSONResponse(error.body, error.status, headers={"Retry-After": "1"} if error.status == 429 else None)
