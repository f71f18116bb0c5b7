"""Shows a run in a browser: a list of its questions, and each question from its chains to the students' answers (docs/view.md).

Pages are made on the server and work without a network and without a script; the script only adds keys. What a model wrote is
escaped, and the pages' policy forbids all other scripts.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, urlencode

from jinja2 import Template
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from understudy.checks.judge import judge
from understudy.core.errors import suggest
from understudy.core.values import Outcome
from understudy.corpus.tables import append_objects
from understudy.reports.documents import open_template
from understudy.runs.questions import Filters, QuestionIndex, QuestionRecord
from understudy.studies.relabels import FILE, RULINGS, Relabel, Ruling, read_relabels

PAGE = 50
"""Questions on a page of the list."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; form-action 'self'"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


@lru_cache(maxsize=1)
def _read_relabels(path: Path, _changed: tuple[int, int]) -> Mapping[str, Relabel]:
    """Read what people say, by chain; the file is read again only when it has changed."""
    return {chain: relabel for (check, chain), relabel in read_relabels(path).items() if not check}


class View:
    """The pages of one run. If a ``rater`` is named, that person may give each chain an outcome."""

    def __init__(self, questions: QuestionIndex, rater: str = "") -> None:
        self.questions, self.run, self.rater = questions, questions.run, rater
        self.relabels = self.run.directory / FILE
        self._read_relabels()  # report a damaged line before anybody adds one
        self.splits = list(dict.fromkeys(entry.problem.split for entry in questions.entries.values()))
        self.list, self.question = open_template("questions.html"), open_template("question.html")

    def app(self, host: str) -> Starlette:
        routes = [Route("/", self._show_list), Route("/question", self._show_question), Route("/view.js", send_script)]
        routes += [Route("/relabel", self._relabel, methods=["POST"])] if self.rater else []
        return Starlette(routes=routes, middleware=protect(host))

    def _show_list(self, request: Request) -> Response:
        filters, page = _read_filters(request), request.query_params.get("page", "")
        hits = self.questions.find(filters)
        pages = max(1, -(-len(hits) // PAGE))
        n = min(max(1, int(page)), pages) if page.isdecimal() else 1
        return self._render(self.list, filters, found=len(hits), entries=hits[(n - 1) * PAGE : n * PAGE], page=n, pages=pages)

    def _show_question(self, request: Request) -> Response:
        filters, entry = _read_filters(request), self._find(request)
        ids = [match.problem.id for match in self.questions.find(filters)]
        index = ids.index(entry.problem.id) if entry.problem.id in ids else -1
        previous, following = ids[index - 1] if index > 0 else "", ids[index + 1] if 0 <= index < len(ids) - 1 else ""
        return self._render(
            self.question,
            filters,
            entry=entry,
            chains=self.questions.chains(entry),
            examples=list(self.questions.examples(entry)),
            before=previous,
            after=following,
            place=(index + 1, len(ids)),
            relabels=self._read_relabels(),
            said=RULINGS,
        )

    def _find(self, request: Request) -> QuestionRecord:
        name, entries = request.query_params.get("id", ""), self.questions.entries
        if name not in entries:
            raise HTTPException(404, f"{self.run.directory}: there is no question {name!r}{suggest(name, entries)}")
        return entries[name]

    def _read_relabels(self) -> Mapping[str, Relabel]:
        if not self.relabels.exists():
            return {}
        status = self.relabels.stat()
        return _read_relabels(self.relabels, (status.st_mtime_ns, status.st_size))

    async def _relabel(self, request: Request) -> Response:
        """Record what the rater says of a chain, and show its question again."""
        form = await read_form(request)
        filters, entry = _read_filters(request), self._find(request)
        judged = next((candidate for candidate in self.questions.chains(entry) if candidate.chain.id == form.get("chain")), None)
        if judged is None or (outcome := form.get("outcome")) not in RULINGS:
            raise HTTPException(400, "no such chain or outcome")
        was = judge(entry.problem, judged.chain, self.run.check).outcome.value  # the check's own, even after a person's
        relabel = Relabel(judged.chain.id, cast(Ruling, outcome), self.rater, form.get("reason", "").strip(), was)
        append_objects(self.relabels, [asdict(relabel)])
        return RedirectResponse(make_link(filters, "/question", id=entry.problem.id) + f"#chain-{judged.chain.id}", 303)

    def _render(self, template: Template, filters: Filters, **values: object) -> Response:
        study, arms = self.run.study, list(self.run.arms)
        shared = {"title": study.title or study.name, "arms": arms, "splits": self.splits, "outcomes": list(Outcome)}
        return respond(template.render(**shared, rater=self.rater, filters=filters, link=partial(make_link, filters), **values))


def _read_filters(request: Request) -> Filters:
    """Read the filters from an address. Raises HTTPException (400) naming the one that cannot be read."""
    try:
        return TypeAdapter(Filters).validate_python({name: value for name, value in request.query_params.items() if value})
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(400, f"{first['loc'][0]}: {first['msg']}") from None


def protect(host: str) -> list[Middleware]:
    """Return middleware for a server on loopback: it answers under no other host name, so that no web site can read the run."""
    return [Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK if host in LOOPBACK else ("*",))]


async def read_form(request: Request) -> dict[str, str]:
    """Read what a form of our own page sends. Raises HTTPException if it comes from another site that is open in the browser."""
    if request.headers.get("origin") not in (None, f"http://{request.headers['host']}"):
        raise HTTPException(400, "sent by another site's page")
    return dict(parse_qsl((await request.body()).decode(errors="replace")))


def respond(html: str) -> Response:
    """Respond with a page that may run only our script."""
    return HTMLResponse(html, headers={"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"})


def send_script(_: Request) -> Response:
    return Response((files("understudy.reports") / "view.js").read_bytes(), media_type="text/javascript")


def make_link(filters: Filters, path: str, **extra: object) -> str:
    """Make the address of ``path`` with the ``filters`` that are set and ``extra``, which replaces or adds to them."""
    query = {name: value for name, value in {**asdict(filters), **extra}.items() if value not in ("", None) and value is not False}
    return f"{path}?{urlencode({name: 'on' if value is True else value for name, value in query.items()})}"
