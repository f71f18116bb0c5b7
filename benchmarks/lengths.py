"""How many questions and chains a study has, and how many tokens of its student they take.

    python benchmarks/lengths.py STUDY... [--set A.B=C ...]

The study's chains must be recorded ones. Nothing is asked or trained. Lengths are the median, the 90th and 99th percentile and the
most, of a chain as SCoTD's student learns it. `student.context` and budgets of tokens can be set by them. `--to FILE` writes the
lengths of each right chain, (question, tokens of its prompt, tokens of the chain with its end token), for benchmarks/gpu.py.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.core.prompt_format import PromptFormat, show_prompt
from understudy.core.values import Chain, Outcome, Problem
from understudy.engines.local.checkpoint import open_checkpoint
from understudy.engines.local.load import load_tokenizer
from understudy.studies.load import load_study
from understudy.studies.study import Study
from understudy.tasks.overlap import check_overlap

SHARES = (0.5, 0.9, 0.99, 1.0)
HEAD = """\
| study | train / dev / test | chains (for each of so many questions) | right, wrong, unparsed % | question | chain, answer | both |
|---|---|---|---|---|---|---|"""


def load(study: Study) -> tuple[dict[str, Problem], list[Chain]]:
    """The problems by id and the chains of training questions."""
    problems = list(study.make_task().problems(seed=study.seed))
    for held_out in (study.evaluation.splits, (study.evaluation.dev,)):
        problems, _ = check_overlap(problems, held_out=held_out, rule="drop")
    known = {problem.id: problem for problem in problems}
    chains, _ = study.teacher.make_engine().prepare(study.root, chats=False).read(known)
    return known, [chain for chain in chains if known[chain.problem].split == "train"]


def quantiles(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    return " / ".join(str(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) for share in SHARES)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="a key of every study")
    parser.add_argument("--to", type=Path, help="a JSON file for the lengths of the last study's chains, without texts")
    arguments = parser.parse_args(words)
    form = PromptFormat()
    print(HEAD)
    for path in arguments.studies:
        study = load_study(path, arguments.overrides)
        if study.student.checkpoint is None:
            parser.error(f"{path}: its student is made from scratch and has no tokens yet")
        tokenizer = load_tokenizer(open_checkpoint(study.student.checkpoint, study.root, chats=False))
        known, chains = load(study)
        outcomes = Counter(judge(known[chain.problem], chain, same_answer).outcome for chain in chains)
        sizes = Counter(problem.split for problem in known.values())
        asked = len({chain.problem for chain in chains})
        texts = {p.id: show_prompt(form.write_prompt(p)) for p in known.values()}
        names = {name: i for i, name in enumerate(texts)}
        questions = dict(zip(texts, map(len, tokenizer(list(texts.values()))["input_ids"]), strict=True))
        taught = [chain for chain in chains if chain.answer is not None]
        replies = [form.join_reply(chain.rationale, chain.answer or "", known[chain.problem]) for chain in taught]
        written = [len(ids) + 1 for ids in tokenizer(replies)["input_ids"]]  # and the end token
        both = [questions[chain.problem] + n for chain, n in zip(taught, written, strict=True)]
        right, wrong = (100 * outcomes[o] / len(chains) for o in (Outcome.CORRECT, Outcome.WRONG))
        cells = [
            path.stem,
            f"{sizes['train']:,} / {sizes['dev']:,} / {sizes['test']:,}",
            f"{len(chains):,} ({len(chains) / asked:.1f} of {asked:,})",
            f"{right:.1f}, {wrong:.1f}, {100 - right - wrong:.1f}",
            *map(quantiles, (questions.values(), written, both)),
        ]
        print("|", " | ".join(cells), "|", flush=True)
        if arguments.to is not None:
            lengths = ((chain, questions[chain.problem], n) for chain, n in zip(taught, written, strict=True))
            kept = [row for row in lengths if judge(known[row[0].problem], row[0], same_answer).outcome is Outcome.CORRECT]
            rows = [(f"q{names[chain.problem]}", read, learned) for chain, read, learned in kept]
            arguments.to.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
