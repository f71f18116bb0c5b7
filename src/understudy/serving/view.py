"""A run in a browser: a list of its questions, and each question from its chains to the students' answers (docs/view.md).

Pages are made on the server and work without a network and without a script; the script only adds keys. What a model wrote is
escaped, and the pages' policy forbids scripts but that one.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.resources import files
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from understudy.core.errors import DataError
from understudy.core.values import Outcome
from understudy.reports.documents import open_template
from understudy.runs.questions import Filters, QuestionIndex
from understudy.serving.port import open_port, run_app

PAGE = 50
"""QuestionIndex on a page of the list."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; form-action 'self'"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


class View:
    """The pages of one run."""

    def __init__(self, questions: QuestionIndex) -> None:
        self.questions, self.run = questions, questions.run
        self.arms = list(self.run.arms)
        self.splits = list(dict.fromkeys(entry.problem.split for entry in questions.entries.values()))
        self.list, self.question = open_template("questions.html"), open_template("question.html")

    def app(self, host: str) -> Starlette:
        routes = [Route("/", self._show_list), Route("/question", self._show_question), Route("/view.js", send_script)]
        return Starlette(routes=routes, middleware=protect(host))

    def _show_list(self, request: Request) -> Response:
        given = {name: value for name, value in request.query_params.items() if value}
        try:
            filters, page = TypeAdapter(Filters).validate_python(given), max(1, int(given.get("page", 1)))
        except (ValidationError, ValueError) as error:
            wrong = error.errors()[0] if isinstance(error, ValidationError) else {"loc": ("page",), "msg": str(error)}
            return PlainTextResponse(f"{wrong['loc'][0]}: {wrong['msg']}", 400)
        found = self.questions.find(filters)
        pages = max(1, -(-len(found) // PAGE))
        page = min(page, pages)
        return self._page(
            self.list, filters, found=len(found), entries=found[(page - 1) * PAGE : page * PAGE], page=page, pages=pages
        )

    def _show_question(self, request: Request) -> Response:
        given = {name: value for name, value in request.query_params.items() if value}
        try:
            entry = self.questions.get(given.get("id", ""))
            filters = TypeAdapter(Filters).validate_python(given)
        except (DataError, ValidationError) as error:
            return PlainTextResponse(str(error), 404)
        found = [other.problem.id for other in self.questions.find(filters)]
        at = found.index(entry.problem.id) if entry.problem.id in found else -1
        before, after = found[at - 1] if at > 0 else "", found[at + 1] if 0 <= at < len(found) - 1 else ""
        return self._page(
            self.question,
            filters,
            entry=entry,
            chains=self.questions.chains(entry),
            examples=list(self.questions.examples(entry)),
            before=before,
            after=after,
            place=(at + 1, len(found)),
        )

    def _page(self, template, filters: Filters, **values: object) -> Response:  # type: ignore[no-untyped-def]
        html = template.render(
            title=self.run.study.title or self.run.study.name,
            filters=filters,
            link=partial(make_link, filters),
            arms=self.arms,
            splits=self.splits,
            outcomes=[outcome.value for outcome in Outcome],
            **values,
        )
        return respond(html)


def protect(host: str) -> list[Middleware]:
    """Where the server listens on loopback, no page is answered under another name, so that no web site can read the run."""
    return [Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK if host in LOOPBACK else ("*",))]


def respond(html: str) -> Response:
    """A page that may run our script alone."""
    return HTMLResponse(html, headers={"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"})


def send_script(_: Request) -> Response:
    return Response((files("understudy.reports") / "view.js").read_bytes(), media_type="text/javascript")


def make_link(filters: Filters, path: str, **more: object) -> str:
    """The address of ``path`` with the ``filters`` that are set, and ``more`` in their place or beside them."""
    query = {name: value for name, value in {**asdict(filters), **more}.items() if value not in ("", None, False)}
    return f"{path}?{urlencode({name: 'on' if value is True else value for name, value in query.items()})}"


def view(questions: QuestionIndex, host: str, port: int, started: Callable[[str], None]) -> None:
    """Show the run until SIGINT or SIGTERM; ``started`` hears the address. Raises UserError where it cannot listen there."""
    with open_port(host, port) as listening:
        run_app(View(questions).app(host), listening, started)
