"""One stored chain feeds every method: what comes back when a student says exactly what it was taught, over real chains.

    python benchmarks/roundtrip.py > docs/roundtrip.md
    python benchmarks/roundtrip.py --file gsm8k-subq --most 100

Each chain is imported as a study imports it, and gives each method its examples. Then `solve` is asked, blind, and every call is
answered with the example's target for that prompt, cut at the call's stop strings as an engine cuts it. The chain came back where
the solution's answer is the chain's. Prompts are raw text for every chain, and messages for `SAMPLE` of each file.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from answers import DATA, sets

from understudy.core.asks import Call, Reply, SamplePath
from understudy.core.prompt_format import PromptFormat
from understudy.core.protocols import Method, MethodWithParts, SelectiveMethod
from understudy.core.values import Chain, Example, Problem, Solution
from understudy.corpus.import_ import import_chains
from understudy.methods.answer_first import AnswerFirst
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.reasoning_teacher import ReasoningTeacher
from understudy.methods.sci_cot import SciCoT
from understudy.methods.scotd import SCoTD
from understudy.methods.socratic import Socratic
from understudy.methods.step_by_step import StepByStep
from understudy.sampling.pool import StudyPool

NO_ANSWER, NO_QUESTIONS = "no answer", "no sub-questions"
SAMPLE = 100
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
    """Chains that gave no example, by the reason."""
    lost: Counter[str] = field(default_factory=Counter)
    """Chains that were fed and did not come back, by kind of answer and layer."""
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def fed(self) -> int:
        return self.chains - self.unfed.total()


def measure(chains: Sequence[Chain], problems: dict[str, Problem], methods: dict[str, Any]) -> dict[str, Tally]:
    """Method -> what became of ``chains``."""
    tallies = {name: Tally(len(chains)) for name in methods}
    pool = StudyPool(learn=list(problems.values()), chains=chains)
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
                kind = f"{problem.kind}, {solution.layer or 'nothing found'}"
                tally.lost[kind] += 1
                example = f"{chain.problem}: {chain.answer[-80:]!r}, read as {solution.answer!r}: {solution.text[-80:]!r}"
                tally.examples.setdefault(kind, example)
    return tallies


def unfed(method: Method, problem: Problem, chain: Chain) -> str:
    """Why ``chain`` gives ``method`` no example, "" where it does."""
    if chain.answer is None:
        return NO_ANSWER
    return method.unfit(problem, chain) if isinstance(method, SelectiveMethod) else ""


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
    if isinstance(method, MethodWithParts):
        told = method.quote(problem, chain, call)
        assert text in (None, told), f"{type(method).__name__} teaches {text!r} and is told {told!r}"
        text = told
    assert text is not None, f"{type(method).__name__} asks what no example taught: {call.prompt!r}"
    end = min((at for stop in call.stop if (at := text.find(stop)) >= 0), default=len(text))
    return Reply(text[:end])


Job = tuple[str, Path, Mapping[str, Problem], int | None, Any]
"""A file's name, the file, its problems, how many of its chains (None: all), in which style."""


def jobs(data: Path, only: str, most: int | None, style: str) -> Iterator[Job]:
    for name, paths, problems in sets(data):
        for path in paths:
            if only in f"{name}/{path.stem}":
                yield f"{name}/{path.stem}", path, problems, most, style


def run(job: Job) -> tuple[str, dict[str, Tally]]:
    """What became of the chains of one file, evenly taken from it."""
    name, path, problems, most, style = job
    methods = {name: replace(method, format=PromptFormat(style)) for name, method in METHODS.items()}
    with TemporaryDirectory() as folder:
        part = path if most is None else sample(path, most, Path(folder))
        chains, _ = import_chains([part], problems=problems, fields={}, prefer="text")
    return name, measure(chains, problems, methods)


def sample(path: Path, most: int, folder: Path) -> Path:
    """A file of so many lines of ``path``, evenly taken."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / path.name).write_text("".join(lines[:: max(1, len(lines) // most)][:most]), encoding="utf-8")
    return folder / path.name


def everything(data: Path, only: str = "", most: int | None = None, style: str = "raw") -> dict[str, dict[str, Tally]]:
    """File -> method -> what became of its chains."""
    with ProcessPoolExecutor() as pool:
        return dict(pool.map(run, jobs(data, only, most, style)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--file", default="", help="only files whose set/name contains this")
    parser.add_argument("--most", type=int, help="so many chains of each file")
    arguments = parser.parse_args()
    raw = everything(arguments.data, arguments.file, arguments.most)
    messages = everything(arguments.data, arguments.file, min(SAMPLE, arguments.most or SAMPLE), "messages")
    print(page(raw, messages), end="")


PAGE = """# Chains through every method and back

*One stored chain feeds every method.* This benchmark imports every chain of the development data (not part of this
repository) as a study does. It turns each chain that states an answer into the examples of every distilling method that
can take it, with the teacher's answer as the label. Then it puts the question, without the gold answer, to a student
that says exactly what it was taught. The student replies to each call with that call's target, cut at the call's stop
strings. The chain came back if the solution's answer is the chain's.

{chains:,} chains state an answer. They were fed {fed:,} times in all; {lost:,} times the chain did not come back. In messages,
with {sample} chains of each file, it did not come back {lost_messages:,} of {fed_messages:,} times.

`python benchmarks/roundtrip.py > docs/roundtrip.md` writes this page. The tests check a sample of it, and
`make test-slow` checks all of it.

"""
FILES = """## Files

Plain methods ({plain} of them) need an answer. Socratic methods ({socratic}) also need sub-questions, at most ten (`max_steps`).
"Lost" counts chains over all methods of the same kind.

| file | chains | no answer | plain: fed each | lost | no sub-questions | too many | Socratic: fed each | lost |
|---|---|---|---|---|---|---|---|---|
"""


def page(raw: Mapping[str, Mapping[str, Tally]], messages: Mapping[str, Mapping[str, Tally]]) -> str:
    """The whole page."""
    every = [tally for tallies in raw.values() for tally in tallies.values()]
    turns = [tally for tallies in messages.values() for tally in tallies.values()]
    head = PAGE.format(
        chains=sum(tallies["scotd"].fed for tallies in raw.values()),
        fed=sum(t.fed for t in every),
        lost=sum(t.lost.total() for t in every),
        sample=SAMPLE,
        fed_messages=sum(t.fed for t in turns),
        lost_messages=sum(t.lost.total() for t in turns),
    )
    socratic = [name for name in METHODS if name.startswith("socratic")]
    plain = [name for name in METHODS if name not in socratic]
    table = FILES.format(plain=len(plain), socratic=len(socratic))
    return head + table + "".join(row(name, raw[name], plain, socratic) for name in raw) + methods(raw) + classes(raw, messages)


def row(name: str, tallies: Mapping[str, Tally], plain: Sequence[str], socratic: Sequence[str]) -> str:
    counts = []
    for names in (plain, socratic):
        (fed,) = {tallies[name].fed for name in names}  # each method of a kind takes the same chains
        counts.append((fed, sum(tallies[name].lost.total() for name in names), tallies[names[0]].unfed))
    (fed, lost, unfed), (asked, missed, unasked) = counts
    too_many = unasked.total() - unasked[NO_ANSWER] - unasked[NO_QUESTIONS]
    cells = [tallies["scotd"].chains, unfed[NO_ANSWER], fed, lost, unasked[NO_QUESTIONS], too_many, asked, missed]
    return f"| {name} | {' | '.join(f'{n:,}' for n in cells)} |\n"


def methods(raw: Mapping[str, Mapping[str, Tally]]) -> str:
    lines = [
        f"| {name} | {sum(t[name].fed for t in raw.values()):,} | {sum(t[name].back for t in raw.values()):,} |" for name in METHODS
    ]
    return "\n## Methods\n\n| method | fed | came back |\n|---|---|---|\n" + "\n".join(lines) + "\n"


def classes(raw: Mapping[str, Mapping[str, Tally]], messages: Mapping[str, Mapping[str, Tally]]) -> str:
    """Every class of chains that did not come back, with the first example."""
    lines = []
    for style, found in (("raw", raw), ("messages", messages)):
        for file, tallies in found.items():
            for kind in sorted({kind for tally in tallies.values() for kind in tally.lost}):
                lost = {name: tally for name, tally in tallies.items() if kind in tally.lost}
                shown = next(iter(lost.values())).examples[kind].replace("|", "\\|").replace("`", "'")
                each = "; ".join(f"{name} {tally.lost[kind]:,}" for name, tally in lost.items())
                lines.append(f"| {file} | {style} | {kind} | {each} | `{shown}` |\n")
    note = "The reader takes at most 40 digits in a row as a number (`core/answers/arithmetic.py`)."
    head = "| file | style | kind, layer | chains by method | the first |\n|---|---|---|---|---|\n"
    head = f"\n## What did not come back\n\n{note}\n\n{head}"
    return head + "".join(lines) if lines else ""


if __name__ == "__main__":
    main()
