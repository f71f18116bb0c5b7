"""An engine judges two arms' answers: each pair twice, with its sides swapped, so that an order which it prefers gains nothing.

Every reply goes through a ledger beside the run, so that a judging that was stopped goes on and nothing is paid for twice.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from understudy.core.asks import GREEDY, Call, Flow, Message, SamplePath
from understudy.core.errors import EngineError
from understudy.core.prompt_format import question_text
from understudy.core.protocols import Progress, counting
from understudy.core.thoughts import thought_of
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.pipeline.connect import connect
from understudy.runs.judgements import Judgement, Pair
from understudy.runs.run import Run
from understudy.sampling.ledger import Ledger
from understudy.studies.options import Teacher

LEDGER = "judge.sqlite"
LEAST_TOKENS = 512
"""That a reply may have, where the method's options ask for fewer."""
_MARKUP = re.compile(r"[*_`$#>{}]|\\boxed|\\text")
_BETTER = re.compile(
    r"\s*(?:the )?better(?: answer)?(?: is)?\s*[:=–-]?\s*(?:answer |option )?\(?(1|2|neither|none|both)\)?[.!]?\s*", re.I
)


@dataclass(frozen=True)
class EngineJudgements:
    """``judgements``: two for each pair, one for each order. ``unread`` pairs had a reply that names no answer or was cut off,
    ``failed`` ones a call that failed with ``error``; ``budget_spent``: since the budget is spent."""

    judgements: list[Judgement]
    unread: int
    failed: int
    error: str
    budget_spent: bool


def ask_engine(run: Run, pairs: Sequence[Pair], teacher: Teacher, root: Path, tell: Progress) -> EngineJudgements:
    """What the engine of ``teacher``, whose paths are relative to ``root``, says of ``pairs``, greedily; its price and budget hold
    for all judging in this run.

    Raises StudyError for an engine that cannot be asked, EngineError where no pair was judged.
    """
    study, task = run.study, run.study.make_task()
    most = max(LEAST_TOKENS, teacher.make_method().max_tokens)
    engine = teacher.prepare_engine(root, task, answers=True).open(task=task, seed=study.seed)

    def flows() -> Iterator[tuple[SamplePath, Flow[str]]]:
        for pair in pairs:
            for order, sides in enumerate(_orders(pair)):
                yield SamplePath(pair.problem.id, order, study.seed), _ask(pair, sides, most, chats=teacher.chats)

    replies: dict[tuple[str, int], str] = {}
    errors: dict[str, str] = {}
    budget_spent = False
    with Ledger(run.directory / LEDGER, price=teacher.price, budget=teacher.budget) as store:
        engine, _ = connect(engine, store, seed=study.seed, paths=1, tell=tell)
        cast = Cast({"judge": engine}, {"judge": GREEDY}, store=store, seed=study.seed)
        for done in run_flows(flows(), cast, on_end=counting(tell, "judge", 2 * len(pairs))):
            if done.value is None:
                errors[done.path.problem] = done.error or ""
                budget_spent |= done.unasked
            else:
                replies[done.path.problem, done.path.index] = done.value
    judgements = []
    for pair in (pair for pair in pairs if pair.problem.id not in errors):
        name, (first, second) = pair.problem.id, pair.answers
        said = [
            Judgement(name, (first, second), engine.identity, choice, sides[0], pair.texts, pair.both_right, engine=True)
            for order, sides in enumerate(_orders(pair))
            if (choice := _read(replies[name, order], sides)) is not None
        ]
        judgements += said if len(said) == 2 else []
    why = next(iter(errors.values()), "")
    if pairs and not judgements:
        why = why or "no reply names the better answer, or all were cut off"
        raise EngineError(f"none of {len(pairs)} pairs was judged; {why}")
    return EngineJudgements(judgements, len(pairs) - len(errors) - len(judgements) // 2, len(errors), why, budget_spent)


def _orders(pair: Pair) -> tuple[tuple[str, str], tuple[str, str]]:
    first, second = pair.answers
    return (first, second), (second, first)


def _ask(pair: Pair, sides: tuple[str, str], most: int, *, chats: bool) -> Flow[str]:
    first, second = (pair.answers[arm] or "(nothing)" for arm in sides)
    template = Template((files("understudy.runs") / "judge_prompt.txt").read_text(encoding="utf-8"))
    prompt = template.substitute(question=question_text(pair.problem), first=first, second=second)
    reply = yield Call("judge", (Message("user", prompt),) if chats else prompt, (), most)
    return reply.text if reply.finish == "stop" else ""


def _read(text: str, sides: tuple[str, str]) -> str | None:
    """The arm that a reply prefers, "" where neither, None where it does not say: by its last line that says nothing else."""
    _, begin = thought_of(text)
    said = "" if begin is None else _MARKUP.sub("", text[begin:])
    found = [line[1] for line in map(_BETTER.fullmatch, said.splitlines()) if line]
    return {"1": sides[0], "2": sides[1]}.get(found[-1], "") if found else None
