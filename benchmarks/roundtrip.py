"""One stored chain feeds every method: what comes back when a student says exactly what it was taught, over real chains.

    python benchmarks/roundtrip.py [--data DIR] [--file NAME] [--most N] [--show N] [--markdown]

Each chain is imported as a study imports it, and gives each method its examples. Then `solve` is asked, blind, and every call is
answered with the example's target for that prompt, cut at the call's stop strings as an engine cuts it. The chain came back where
the solution's answer is the chain's.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from answers import DATA, sets

from understudy.core.asks import Call, Reply
from understudy.core.asks import Path as SamplePath
from understudy.core.prompting import Format
from understudy.core.protocols import Choosy, Method, Parted
from understudy.core.values import Chain, Example, Problem, Solution
from understudy.corpus.importing import import_chains
from understudy.methods.answer_first import AnswerFirst
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.reasoning_teacher import ReasoningTeacher
from understudy.methods.sci_cot import SciCoT
from understudy.methods.scotd import SCoTD
from understudy.methods.socratic import Socratic
from understudy.methods.step_by_step import StepByStep
from understudy.sampling.pool import StudyPool

NO_ANSWER = "no answer"
METHODS: dict[str, Any] = {
    "answer_only": AnswerOnly(label="teacher"),
    "answer_first": AnswerFirst(),
    "scotd": SCoTD(),
    "reasoning_teacher": ReasoningTeacher(),
    "step_by_step": StepByStep(label="teacher"),
    "sci_cot": SciCoT(label="teacher"),
    "sci_cot, shuffled": SciCoT(label="teacher", source="shuffled"),
    "sci_cot, none": SciCoT(label="teacher", source="none"),
    "socratic": Socratic(),
    "socratic, shared": Socratic(models="shared"),
    "socratic, unified": Socratic(models="unified"),
    "socratic, plan first": Socratic(questions="plan_first"),
    "socratic, last": Socratic(context="last"),
    "socratic, number": Socratic(guidance="number"),
    "socratic, operators": Socratic(guidance="operators"),
    "socratic, equations": Socratic(guidance="equations"),
}
"""Every distilling method, with the teacher's answer as the label and each source that needs no model."""


@dataclass
class Tally:
    """Counts of one file and method."""

    chains: int = 0
    back: int = 0
    unfed: Counter[str] = field(default_factory=Counter)
    lost: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def fed(self) -> int:
        return self.chains - self.unfed.total()


def measure(chains: Sequence[Chain], problems: dict[str, Problem], methods: dict[str, Any]) -> dict[str, Tally]:
    """Method -> what became of ``chains``."""
    tallies = {name: Tally(len(chains)) for name in methods}
    pool = StudyPool(problems=list(problems.values()), chains=chains)
    for chain in chains:
        problem = problems[chain.problem]
        for name, method in methods.items():
            tally = tallies[name]
            if why := unfed(method, problem, chain):
                tally.unfed[why] += 1
                continue
            solution = taught(method, problem, chain, pool)
            if solution.answer == chain.answer:
                tally.back += 1
            else:
                said = f"answer {chain.answer!r}, read {solution.answer!r} ({solution.layer}): {solution.text[-300:]!r}"
                tally.lost[f"{problem.kind}, {solution.layer or 'nothing found'}"].append(f"{chain.problem}: {said}")
    return tallies


def unfed(method: Method, problem: Problem, chain: Chain) -> str:
    """Why ``chain`` gives ``method`` no example, "" where it does."""
    if chain.answer is None:
        return NO_ANSWER
    return method.unfit(problem, chain) if isinstance(method, Choosy) else ""


def taught(method: Method, problem: Problem, chain: Chain, pool: StudyPool) -> Solution:
    """The solution of a student that says what ``chain`` taught it."""
    (examples,) = finished(method.examples(problem, [chain], pool))
    targets = {source(example): "".join(s.text for s in example.target) for example in examples}
    flow, reply = method.solve(problem.blind(), SamplePath(problem.id), pool), None
    while True:
        try:
            asked = flow.send(reply)
        except StopIteration as end:
            return end.value
        replies = [said(method, problem, chain, targets, call) for call in ([asked] if isinstance(asked, Call) else asked)]
        reply = replies[0] if isinstance(asked, Call) else replies


def finished(flow: Any) -> Iterator[Any]:
    try:
        flow.send(None)
    except StopIteration as end:
        yield end.value


def source(example: Example) -> Any:
    return example.messages or example.source


def said(method: Method, problem: Problem, chain: Chain, targets: dict[Any, str], call: Call) -> Reply:
    """The reply to ``call``: as the example of its prompt, or where there is none (another problem's rationale) as the chain."""
    text = targets.get(call.prompt)
    if isinstance(method, Parted):
        told = method.told(problem, chain, call)
        assert text in (None, told), f"{method.name} teaches {text!r} and is told {told!r}"
        text = told
    assert text is not None, f"{method.name} asks what no example taught: {call.prompt!r}"
    end = min((at for stop in call.stop if (at := text.find(stop)) >= 0), default=len(text))
    return Reply(text[:end])


def files(data: Path, only: str = "", most: int | None = None) -> Iterator[tuple[str, list[Chain], dict[str, Problem]]]:
    """(set/file, its chains, the problems) of every file of chains; ``most``: so many of each."""
    for name, paths, problems in sets(data):
        for path in paths:
            if only in f"{name}/{path.name}":
                chains, _ = import_chains([path], problems=problems, fields={}, prefer="text")
                step = 1 if most is None else max(1, len(chains) // most)
                yield f"{name}/{path.stem}", list(islice(chains[::step], most)), problems


def in_style(style: Any) -> dict[str, Any]:
    return {name: replace(method, format=Format(style)) for name, method in METHODS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--file", default="", help="only files whose set/name contains this")
    parser.add_argument("--most", type=int, help="so many chains of each file")
    parser.add_argument("--style", default="raw")
    parser.add_argument("--show", type=int, default=1, help="examples of each class that did not come back")
    arguments = parser.parse_args()
    for name, chains, problems in files(arguments.data, arguments.file, arguments.most):
        for method, tally in measure(chains, problems, in_style(arguments.style)).items():
            print(
                f"{name:50} {method:20} n {tally.chains:6,} fed {tally.fed:6,} back {tally.back:6,} lost {tally.fed - tally.back:4} {dict(tally.unfed)}"
            )
            for kind, examples in tally.lost.items():
                print(f"    {len(examples):5} {kind}")
                for example in examples[:: max(1, len(examples) // max(1, arguments.show))][: arguments.show]:
                    print(f"           {example}")


if __name__ == "__main__":
    main()
