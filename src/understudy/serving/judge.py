"""Shows two arms' answers side by side in a browser, without their names, for a person to choose the better one (docs/judge.md)."""

from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from understudy.reports.documents import open_template
from understudy.runs.judgements import Judgement, Pair, read_latest, write_judgements
from understudy.serving.view import protect, read_form, respond, send_script


class Judging:
    """The pages of one ``rater`` for ``pairs``; judgements are added to ``file``."""

    def __init__(self, pairs: Sequence[Pair], rater: str, file: Path) -> None:
        self.pairs, self.rater, self.file = pairs, rater, file
        self.template = open_template("judge.html")
        self._read_choices()  # report a damaged line before anybody adds one

    def app(self, host: str) -> Starlette:
        routes = [Route("/", self._show), Route("/judge", self._judge, methods=["POST"]), Route("/view.js", send_script)]
        return Starlette(routes=routes, middleware=protect(host))

    def _read_choices(self) -> dict[str, str]:
        """Read question -> this rater's choice."""
        done = read_latest(self.file)
        return {pair.problem.id: done[key].choice for pair in self.pairs if (key := pair.key(self.rater)) in done}

    def _show(self, request: Request) -> Response:
        """Show the pair with the requested number, or the first one that is not judged yet."""
        choices = self._read_choices()
        remaining = [i for i, pair in enumerate(self.pairs) if pair.problem.id not in choices]
        number = request.query_params.get("n", "")
        index = min(int(number), len(self.pairs)) - 1 if number.isdecimal() and int(number) else remaining[0] if remaining else -1
        pair = self.pairs[index] if index >= 0 else None
        values: dict[str, object] = {"pair": pair, "at": index + 1, "total": len(self.pairs), "done": len(choices)}
        if pair is not None:
            sides = pair.sides(self.rater)
            choice = choices.get(pair.problem.id)
            values["texts"] = [pair.answers[arm] for arm in sides]
            values["chosen"] = "" if choice is None else {sides[0]: "left", sides[1]: "right"}.get(choice, "tie")
        return respond(self.template.render(rater=self.rater, **values))

    async def _judge(self, request: Request) -> Response:
        """Record a choice."""
        form = await read_form(request)
        shown, choice = form.get("shown", ""), form.get("choice", "")  # a page may be open since before a restart
        pair = next((pair for pair in self.pairs if f"{pair.texts} {self.rater}" == shown), None)
        if pair is None or choice not in ("left", "right", "tie"):
            return PlainTextResponse("no such question or choice", 400)
        left, right = pair.sides(self.rater)
        first, second = pair.answers
        arm = {"left": left, "right": right, "tie": ""}[choice]
        judgement = Judgement(pair.problem.id, (first, second), self.rater, arm, left, pair.texts, pair.both_right)
        write_judgements(self.file, [judgement])
        return RedirectResponse("/", 303)
