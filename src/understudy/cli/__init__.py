"""The command line: `main` looks up the verb in a table and imports only the file that implements it."""

import sys
from collections.abc import Sequence

VERBS: dict[str, tuple[str, str]] = {  # verb -> (its file in this room: its function, what it does)
    "demo": ("run:main", "run the whole job on a built-in world, offline, in minutes"),
    "presets": ("init:presets", "list the papers' experiments, and what each asks and trains"),
    "init": ("init:main", "write a first study for a file of questions"),
    "run": ("run:main", "run a study: every stage that is not done yet, then the report"),
    "try": ("run:try_", "ask the teacher a few questions first, and judge its replies"),
    "import": ("corpora:import_", "turn chains that you already have into a corpus"),
    "export": ("corpora:export", "write chains, examples or a student for other tools"),
    "sample": ("run:main", "run a study up to its chains"),
    "check": ("run:main", "run a study up to the verdicts on its chains"),
    "select": ("run:main", "run a study up to the chains selected for each arm"),
    "train": ("run:main", "run a study up to its trained students"),
    "evaluate": ("run:main", "run a study up to its students' answers and scores"),
    "show-training": ("view:show_training", "show what a run's students were trained on, token by token"),
    "report": ("look:report", "write the report of a run again"),
    "answer": ("students:answer", "ask a trained student a question: its chain and its answer"),
    "serve": ("students:serve", "serve trained students through an OpenAI-compatible API"),
    "view": ("view:view", "browse a run's questions, with their chains and answers"),
    "why": ("view:why", "show one question of a run, with its chains and answers"),
    "judge": ("view:judge", "let people or a model judge two arms' answers, blind"),
    "results": ("look:results", "show a run's results, a row per arm, split, seed and decoding"),
    "compare": ("look:compare", "find the best arm of runs, and what the data support"),
    "status": ("look:show_status", "show how far a run's sampling has got, and what it has cost"),
    "ls": ("look:ls", "list what runs hold, and how large it is"),
    "gc": ("look:gc", "remove what a run's study no longer needs"),
}


def format_usage() -> str:
    verbs = "\n".join(f"  {verb:<13}  {summary}" for verb, (_, summary) in VERBS.items())
    return f"""usage: understudy VERB ...

Teach a small model to reason step by step from a large model's written
reasoning, and compare the methods honestly.

{verbs}

understudy VERB --help lists its options. --debug adds the traceback to an error
message. Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 done with
errors, 130 / 143 interrupted (run it again to continue where it stopped).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(format_usage(), end="")
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"understudy {version('understudy')}")
        return 0
    verb = arguments.pop(0)
    if verb not in VERBS:
        from understudy.core.errors import suggest

        print(f"understudy: there is no verb {verb!r}{suggest(verb, VERBS)}\n\n{format_usage()}", file=sys.stderr, end="")
        return 2
    from understudy.cli.guard import run_verb

    return run_verb(VERBS[verb][0], verb, arguments)
