"""Understudy: teach a small model to reason step by step from a large model's written reasoning.

These functions do from Python what the command line does. Each one is imported on first use::

    study = understudy.load_study("study.toml", ["training.steps=200"])
    plan = understudy.run_study(study, Path("runs/mine"))          # to resume, call it again
    report = understudy.open_run(Path("runs/mine"))                # report.rows: one per arm, split, seed and decoding
    answered = understudy.ask_student("runs/mine/students/...", "Ana has 4 coins. Mon: finds 3. ...")
    understudy.import_corpus([Path("chains.jsonl")], problems=[Path("questions.jsonl")], kind="number", to=Path("c.parquet"))
    understudy.export_corpus(Path("runs/mine"), to=Path("chains.jsonl"), format="messages")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.pipeline.run import run_study
    from understudy.runs.ask import ask_student
    from understudy.runs.corpora import export_corpus, import_corpus
    from understudy.runs.report import open_run
    from understudy.studies.load import load_study

__all__ = ["ask_student", "export_corpus", "import_corpus", "load_study", "open_run", "run_study"]

_WHERE = {
    "ask_student": "understudy.runs.ask",
    "export_corpus": "understudy.runs.corpora",
    "import_corpus": "understudy.runs.corpora",
    "load_study": "understudy.studies.load",
    "open_run": "understudy.runs.report",
    "run_study": "understudy.pipeline.run",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WHERE[name]), name)
