"""What a study would ask, before anything is asked: the first prompt of each kind, the number of teacher requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.asks import Call, Decoding, Message, Request
from understudy.core.asks import Path as SamplePath
from understudy.core.values import Problem
from understudy.sampling.ledger import Ledger
from understudy.studies.jobs.chains import make_teacher, teacher_flows
from understudy.studies.plan import Plan


@dataclass(frozen=True)
class TeacherRequests:
    """Requests of the whole corpus, and how many of them the ledger has answers to. Later turns of a flow do not count."""

    total: int
    bought: int

    @property
    def left(self) -> int:
        return self.total - self.bought


def load_problems(plan: Plan) -> list[Problem]:
    """The study's problems, made anew (cheap, and nothing has to be there)."""
    found: list[Problem] = plan.study.make_task().problems(seed=plan.study.seed)
    return found


def teacher_requests(plan: Plan, run: Path) -> TeacherRequests | None:
    """Count the teacher's first asks and those already in the ledger of ``run``; None for recorded chains."""
    teacher = plan.study.teacher
    if teacher.engine == "recorded":
        return None
    train = [problem for problem in load_problems(plan) if problem.split == "train"]
    ledger = run / "ledger.sqlite"
    if not ledger.is_file():
        return TeacherRequests(len(train) * teacher.samples, 0)
    identity = make_teacher(teacher, plan.stages[plan.chains].arguments).identity
    settled = Decoding(teacher.temperature, teacher.top_p)
    total = bought = 0
    with Ledger.open(ledger, readonly=True) as store:
        for path, flow in teacher_flows(train, teacher, plan.study.seed):
            ask = _first_call(flow)
            if ask is not None:
                total += 1
                request = Request(ask, ask.decoding or settled, path.index, ask.attempt)
                bought += store.get(request.key(identity)) is not None
    return TeacherRequests(total, bought)


def first_prompts(plan: Plan) -> Iterator[tuple[str, str]]:
    """(what it is, the filled-in prompt) for the teacher and for each student role's first turn of each method."""
    study = plan.study
    problems = load_problems(plan)
    if study.teacher.engine != "recorded":
        train = [problem for problem in problems if problem.split == "train"]
        first = next(teacher_flows(train, study.teacher, study.seed), None)
        ask = _first_call(first[1]) if first else None
        if ask is not None:
            yield f"teacher ({study.teacher.method})", rendered(ask)
    seen: set[str] = set()
    asked = next((p for p in problems if p.split in study.evaluation.splits), None)
    for arm in study.arms:
        if asked is None or arm.method in seen:
            continue
        seen.add(arm.method)
        method: Any = study.method(arm)
        ask = _first_call(method.solve(asked.blind(), SamplePath(asked.id, 0, study.seed)))
        if ask is not None:
            yield f"{ask.role} ({arm.method})", rendered(ask)


def rendered(ask: Call) -> str:
    """A prompt as text: messages one after the other, each under its role."""
    if isinstance(ask.prompt, str):
        return ask.prompt
    return "\n".join(f"[{m.role}]\n{m.content}" for m in ask.prompt if isinstance(m, Message))


def _first_call(flow: Any) -> Call | None:
    """The first `Call` that a flow asks, or None where it asks something else or nothing."""
    try:
        ask = next(flow)
    except StopIteration:
        return None
    finally:
        flow.close()
    first = ask[0] if isinstance(ask, list) else ask
    return first if isinstance(first, Call) else None
