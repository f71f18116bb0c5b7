"""The command line: `main` finds the verb in a table and imports its file when it is called."""

import sys
from collections.abc import Sequence

VERBS: dict[str, tuple[str, str]] = {  # verb -> (its file in this room: its function, what it does)
    "demo": ("run:main", "the whole job on the embedded world, offline, in minutes"),
    "presets": ("init:presets", "the papers' experiments, each one command, and what each would ask and train"),
    "init": ("init:main", "write a first study for a file of questions"),
    "run": ("run:main", "run a study: every stage that is not there yet, and the report"),
    "try": ("run:try_", "put a few questions to the teacher: prompt, reply, answer, verdict, before many are asked"),
    "import": ("corpora:import_", "bring chains that somebody already has into a corpus"),
    "export": (
        "corpora:export",
        "chains or training examples in a format that other tools read; a student for llama.cpp, Ollama, CTranslate2",
    ),
    "sample": ("run:main", "a study up to its chains"),
    "check": ("run:main", "a study up to the verdicts on its chains"),
    "select": ("run:main", "a study up to the chains that each arm is given"),
    "train": ("run:main", "a study up to its trained students"),
    "evaluate": ("run:main", "a study up to its students' answers and scores"),
    "show-training": ("view:show_training", "what a run's students were trained on, token by token"),
    "report": ("look:report", "write the report of a run again"),
    "answer": ("students:answer", "put a question to a trained student: its chain and its answer"),
    "serve": ("students:serve", "trained students as an OpenAI-compatible server"),
    "view": ("view:view", "every question of a run in a browser: its chains, what was learned from them, the students' answers"),
    "why": ("view:why", "one question of a run in the terminal: its chains, verdicts and the students' answers"),
    "judge": ("view:judge", "let people or a model choose between two arms' answers, blind, and say what they chose"),
    "results": ("look:results", "the results of a run, one row per arm, split, seed and decoding"),
    "compare": ("look:compare", "which arm of one or several runs is the best, what it costs, and what the data support"),
    "status": ("look:show_status", "how far the sampling of a run is, and what it has cost, while it goes on"),
    "ls": ("look:ls", "what runs hold, and how large it is"),
    "gc": ("look:gc", "remove what a run holds and its study no longer needs"),
}


def usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {summary}" for verb, (_, summary) in VERBS.items())
    return f"""usage: understudy VERB ...

Teach a small model to reason step by step from a large model's written reasoning, and compare the methods honestly.

{verbs}

understudy VERB --help says more. Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 done with errors,
130 / 143 interrupted (run it again: it goes on where it stopped). --debug adds the traceback to a message.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"understudy {version('understudy')}")
        return 0
    verb = arguments.pop(0)
    if verb not in VERBS:
        from understudy.core.errors import nearest

        print(f"understudy: there is no verb {verb!r}{nearest(verb, VERBS)}\n\n{usage()}", file=sys.stderr, end="")
        return 2
    from understudy.cli.guard import guarded

    return guarded(VERBS[verb][0], verb, arguments)
