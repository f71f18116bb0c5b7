"""Let an engine judge: two arms' answers, each pair twice with its sides swapped, so that a preference for one side gains nothing;
or the teacher's chains one by one, without the gold answer.

Every reply goes through a ledger in the run directory, so that interrupted judging can continue and nothing is paid for twice.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from heapq import nsmallest
from importlib.resources import files
from itertools import permutations
from pathlib import Path
from string import Template

from understudy.checks.judge import judge
from understudy.core.asks import GREEDY, Call, Flow, Message, SamplePath
from understudy.core.errors import DataError, EngineError
from understudy.core.prompt_format import write_question
from understudy.core.protocols import Progress, make_counter
from understudy.core.thoughts import is_only_thought, split_thought
from understudy.core.values import Chain, Problem, digest, grouped
from understudy.corpus.store import read_rows
from understudy.corpus.tables import append_objects
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.pipeline.connect import connect
from understudy.runs.judgements import Judgement, Pair
from understudy.runs.run import Run
from understudy.sampling.ledger import Ledger
from understudy.studies.options import Teacher
from understudy.studies.relabels import FILE, JUDGED, Relabel, Ruling, read_relabels

LEDGER = "judge.sqlite"
MIN_TOKENS = 512
"""The tokens that a reply may have, even if the method's options allow fewer."""
_MARKUP = re.compile(r"[*_`$#>{}\"'“”‘’]|\\boxed|\\text")
BETTER = re.compile(
    r"\s*(?:[-•] )?(?:the )?better(?: answer)?(?: is)?\s*[:=–-]?\s*(?:answer |option )?\(?(1|2|neither|none|both)\)?[.!]?\s*", re.I
)
VERDICT = re.compile(
    r"\s*(?:[-•] )?(?:the |my |final )*verdict(?: is)?\s*[:=–-]?\s*(right|correct|wrong|incorrect|undecided)[.!]?\s*", re.I
)
_OUTCOMES: Mapping[str, Ruling] = {"right": "correct", "correct": "correct", "undecided": "undecidable"}
"""The word of a verdict -> the chain's outcome; any other word means wrong."""


@dataclass
class Replies:
    """The replies of the engine ``rater`` about the pairs or chains that were ``asked``, by name. ``decisions``: (name, order) ->
    the word that decides, and how the reply begins. Those in ``unread`` had a reply that names no choice or was cut off;
    ``errors``: name -> why a request for it failed; ``budget_spent``: whether one failed because the budget is spent."""

    rater: str
    asked: set[str] = field(default_factory=set)
    decisions: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    budget_spent: bool = False


def judge_pairs(run: Run, pairs: Sequence[Pair], teacher: Teacher, root: Path, tell: Progress) -> tuple[list[Judgement], Replies]:
    """Let the engine of ``teacher``, whose paths are relative to ``root``, judge ``pairs``, greedily, and return two judgements for
    each pair, one per order. The teacher's price and budget apply to all judging in this run.

    Raises StudyError for an engine that cannot be asked, EngineError if no pair was judged.
    """
    ordered = [(pair, order, sides) for pair in pairs for order, sides in enumerate(permutations(pair.answers))]
    asks = (
        (pair.problem.id, order, _fill("judge_prompt.txt", pair.problem, first=pair.answers[left], second=pair.answers[right]))
        for pair, order, (left, right) in ordered
    )
    replies = _ask_all("pairs", run, teacher, root, asks, n=len(ordered), words=BETTER, tell=tell)
    judged, unjudged = [], replies.unread | replies.errors.keys()
    for pair, order, (left, right) in ordered:
        if (name := pair.problem.id) not in unjudged:
            choice, (first, second) = {"1": left, "2": right}.get(replies.decisions[name, order][0], ""), pair.answers
            judged.append(Judgement(name, (first, second), replies.rater, choice, left, pair.texts, pair.both_right, engine=True))
    return judged, replies


def judge_chains(run: Run, teacher: Teacher, root: Path, tell: Progress, limit: int | None = None) -> tuple[list[Relabel], Replies]:
    """Let the engine judge which of the teacher's chains are right, for the check `judged`: of those that are whole, at most
    ``limit``, drawn by the study's seed. It does not see the gold answer. New verdicts are added to the run's `FILE`. Otherwise as
    `judge_pairs`."""
    file, problems = run.directory / FILE, {problem.id: problem for problem in run.problems}
    saved = read_relabels(file) if file.exists() else {}  # before anything is paid for
    whole = (c for c in read_rows(run.chains_file, Chain) if c.finish not in ("refused", "length") and not is_only_thought(c.text))
    chosen = whole if limit is None else nsmallest(limit, whole, key=lambda chain: digest([run.study.seed, chain.id]))
    asks = ((c.id, 0, _fill("judge_chain_prompt.txt", problems[c.problem], solution=c.text.strip())) for c in chosen)
    if (n := min(run.chains_summary.chains, limit or sys.maxsize)) == 0:
        raise DataError(f"{run.directory}: holds no chains to judge; `understudy sample` asks the teacher for them")
    replies = _ask_all("chains", run, teacher, root, asks, n=n, words=VERDICT, tell=tell)
    relabels = {
        (JUDGED, name): Relabel(name, _OUTCOMES.get(word, "wrong"), replies.rater, reason, check=JUDGED)
        for (name, _), (word, reason) in replies.decisions.items()
    }
    append_objects(file, (asdict(row) for key, row in relabels.items() if key not in saved or replace(saved[key], at="") != row))
    return [*relabels.values()], replies


def compare_with_check(run: Run, relabels: Iterable[Relabel]) -> dict[str, Counter[str]]:
    """Count: outcome by the engine -> outcome by the study's first check -> how many chains."""
    judged, problems = {relabel.chain: relabel.outcome for relabel in relabels}, {problem.id: problem for problem in run.problems}
    chains = (chain for chain in read_rows(run.chains_file, Chain) if chain.id in judged)
    pairs = grouped((judged[chain.id], judge(problems[chain.problem], chain, run.check).outcome.value) for chain in chains)
    return {outcome: Counter(by_check) for outcome, by_check in pairs.items()}


def _fill(file: str, problem: Problem, **texts: str) -> str:
    template = Template((files("understudy.runs") / file).read_text(encoding="utf-8"))
    return template.substitute(question=write_question(problem), **{name: text or "(nothing)" for name, text in texts.items()})


Asks = Iterable[tuple[str, int, str]]
"""(name, order, prompt)"""


def _ask_all(
    kind: str, run: Run, teacher: Teacher, root: Path, asks: Asks, *, n: int, words: re.Pattern[str], tell: Progress
) -> Replies:
    """Collect the replies to ``asks`` about things of one ``kind``, of which there are at most ``n``; see `read_word`. Raises
    EngineError if nothing was judged."""
    study, task = run.study, run.study.make_task()
    limit = max(MIN_TOKENS, teacher.make_method().max_tokens)
    engine = teacher.prepare_engine(root, task, answers=True).open(task=task, seed=study.seed)
    flows = ((SamplePath(name, order, study.seed), _ask(prompt, limit, chats=teacher.chats)) for name, order, prompt in asks)
    replies = Replies(engine.identity)
    with Ledger(run.directory / LEDGER, price=teacher.price, budget=teacher.budget) as store:
        engine, _ = connect(engine, store, seed=study.seed, paths=1, report=tell)
        cast = Cast({"judge": engine}, {"judge": GREEDY}, store=store, seed=study.seed)
        for done in run_flows(flows, cast, on_end=make_counter(tell, "judge", n)):
            name = done.path.problem
            replies.asked.add(name)
            if done.value is None:
                replies.errors[name] = done.error or ""
                replies.budget_spent |= done.unasked
            elif word := read_word(done.value, words):
                replies.decisions[name, done.path.index] = word, " ".join(done.value.split())[:200]
            else:
                replies.unread.add(name)
    if replies.asked and not replies.asked - replies.unread - replies.errors.keys():
        reason = next(iter(replies.errors.values()), "") or "no reply ends with a line that can be read, or all were cut off"
        raise EngineError(f"none of {len(replies.asked)} {kind} was judged: {reason}")
    return replies


def _ask(prompt: str, limit: int, *, chats: bool) -> Flow[str]:
    reply = yield Call("judge", (Message("user", prompt),) if chats else prompt, (), limit)
    return reply.text if reply.finish == "stop" else ""


def read_word(text: str, words: re.Pattern[str]) -> str | None:
    """Read the word by which a reply decides: that of its last line that says nothing else."""
    _, start = split_thought(text)
    body = "" if start is None else _MARKUP.sub("", text[start:])
    decisions = [line[1].lower() for line in map(words.fullmatch, body.splitlines()) if line]
    return decisions[-1] if decisions else None
