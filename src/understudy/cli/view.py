"""The verbs that show a run's texts: `view` (every question, in a browser), `why` (one question, in the terminal), `judge` (who
prefers which arm's answers) and `show-training` (what its students were trained on)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from understudy.cli.arguments import add_address, add_json, add_plugins, add_run, positive
from understudy.cli.guard import DONE, WITH_ERRORS
from understudy.cli.table import Screen, print_json, say, show_facts
from understudy.core.asks import GREEDY_PATH
from understudy.core.errors import DataError, UserError, counted

if TYPE_CHECKING:
    from understudy.runs.judge_engine import Replies
    from understudy.runs.judgements import Pair
    from understudy.runs.run import Run
    from understudy.studies.options import Teacher
    from understudy.training.record import ShownExample, TrainingRecord

LEGEND = Text("\ndim: read; ⟦green⟧: bears loss; · separates tokens; ⏎ is a line break\n", style="dim")


def view(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    add_run(parser)
    rater = "the person who corrects verdicts, where the check is wrong"
    parser.add_argument("--rater", metavar="NAME", type=_name, default="", help=rater)
    add_address(parser, port=8080)
    add_plugins(parser, "the check of the run's study")
    options = parser.parse_args(argv)

    from understudy.runs.looks import record_look
    from understudy.runs.questions import QuestionIndex
    from understudy.runs.run import Run
    from understudy.serving.port import show_app
    from understudy.serving.view import View

    questions = QuestionIndex(Run(options.run))

    def tell_url(url: str) -> None:
        if any(entry.answers for entry in questions.entries.values()):
            record_look(options.run)
        say(f"{options.run}: open {url} in a browser; Ctrl-C stops it")

    show_app(View(questions, options.rater).app(options.host), options.host, options.port, tell_url)


def why(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    add_run(parser)
    parser.add_argument("question", metavar="QUESTION", help="its id, or words from it")
    add_json(parser)
    add_plugins(parser, "the check of the run's study")
    options = parser.parse_args(argv)

    from understudy.core.prompt_format import write_question
    from understudy.runs.questions import Filters, QuestionIndex
    from understudy.runs.run import Run

    questions = QuestionIndex(Run(options.run))
    exact = questions.entries.get(options.question)
    matches = [exact] if exact else questions.find(Filters(text=options.question))
    if len(matches) != 1:
        too_many = f"{len(matches):,} questions, with their chains and answers, contain {options.question!r}; name one by its id"
        empty, hint = f"no question, chain or answer contains {options.question!r}", "; the first 10 are:" * (len(matches) > 10)
        ids = "".join(f"\n  {e.problem.id}: {e.problem.question[:80]}" for e in matches[:10])
        raise DataError(f"{options.run}: {too_many + hint + ids if matches else empty}")
    (entry,) = matches
    chains, examples = questions.chains(entry), list(questions.examples(entry))
    if options.json:
        learned = [{"arm": name, **vars(example)} for name, example in examples]
        print_json({"problem": entry.problem, "chains": chains, "examples": learned, "answers": entry.answers})
        return
    screen, problem = Screen(), entry.problem
    screen.print(Text(f"{problem.id} ({problem.split}, gold {' or '.join(problem.golds) or 'none'})", style="bold"))
    screen.print(Text(write_question(problem)))
    for i, judged in enumerate(chains, 1):
        says = ", ".join(f"{v.check}: {v.outcome} ({v.detail})" if v.detail else f"{v.check}: {v.outcome}" for v in judged.verdicts)
        chosen = f"chosen for {' · '.join(judged.arms)}" if judged.arms else "chosen by no arm"
        screen.print(Text(f"\nchain {i}{' (greedy)' if judged.chain.path == GREEDY_PATH else ''}; {says}; {chosen}", style="bold"))
        screen.print(Text(judged.chain.text.strip()))
    for name, example in examples:
        screen.print(Text(f"\nlearned by {name}", style="bold"), _draw_tokens(example), sep="")
    screen.print(LEGEND if examples else "")
    for answer in entry.answers:
        step = f", first wrong step {answer.step}" if answer.step else ""
        elected = f", a vote of {n} for {answer.elected or 'nothing'}" if (n := len(answer.solutions)) > 1 else ""
        screen.print(Text(f"\n{answer.arm}, seed {answer.seed}: {answer.outcome}{step}{elected}", style="bold"))
        for solution, outcome in answer.solutions:
            screen.print(Text(f"[{outcome}] {solution.text.strip()}" if len(answer.solutions) > 1 else solution.text.strip()))


def judge(parser: argparse.ArgumentParser, argv: Sequence[str]) -> int:
    add_run(parser)
    parser.add_argument("--arms", nargs=2, metavar="ARM", help="judge the answers of these two (default: show what was judged)")
    parser.add_argument("--rater", metavar="NAME", type=_name, help="the person who judges")
    engine_help = "let a model judge: FILE.toml with a table [teacher], or `teacher`, the study's own"
    parser.add_argument("--by", metavar="FILE", help=engine_help)
    parser.add_argument("--chains", action="store_true", help="with --by: judge the teacher's chains, for the check `judged`")
    parser.add_argument("--split", default="", help="the split whose answers are judged (default: the first)")
    count_help = "how many questions, or chains, to draw at random (default: 300 questions, all chains)"
    parser.add_argument("-n", type=positive, metavar="N", help=count_help)
    parser.add_argument("--both-right", action="store_true", help="only questions that both arms answer right")
    parser.add_argument("--import", action="append", default=[], type=Path, dest="files", metavar="FILE", help="add its judgements")
    add_address(parser, port=8080)
    add_json(parser)
    add_plugins(parser, "the check of the run's study")
    options = parser.parse_args(argv)
    if options.rater and options.by:
        raise UserError("--rater and --by: either a person judges or a model; leave one out")
    if options.chains and (not options.by or options.arms or options.files or options.split or options.both_right):
        raise UserError("--chains: needs --by FILE, the model that judges, and allows no --arms, --import, --split or --both-right")
    if not options.chains and bool(options.arms) != bool(options.rater or options.by):
        missing = "--rater NAME, a person, or --by FILE, a model" if options.arms else "--arms ARM ARM, the answers to judge"
        raise UserError(f"--arms and --rater (or --by) belong together: add {missing}")

    from understudy.reports.tables import tabulate_judged
    from understudy.reports.terminal import show_tables
    from understudy.runs import judgements
    from understudy.runs.run import Run

    code = DONE
    run, file = Run(options.run), options.run / judgements.FILE
    if options.chains:
        return _judge_chains(run, options.by, options.n, as_json=options.json)
    imported = [judgement for path in options.files for judgement in judgements.read_judgements(path)]
    for arm in (arm for judgement in imported for arm in judgement.arms):
        run.arm(arm)
    if imported:
        judgements.write_judgements(file, imported)
    if options.arms:
        pairs = judgements.make_pairs(run, tuple(options.arms), options.split, both_right=options.both_right, n=options.n or 300)
        say(f"{len(pairs):,} questions that the arms answer with different texts; judgements go to {file}", sys.stderr)
        if options.by:
            code = _judge_pairs(run, pairs, options.by, file)
        else:
            from understudy.serving.judge import Judging
            from understudy.serving.port import show_app

            pages = Judging(pairs, options.rater, file).app(options.host)
            show_app(pages, options.host, options.port, lambda url: say(f"open {url} in a browser; Ctrl-C stops it"))
    judged = judgements.summarise_judgements(run)
    if options.json:
        print_json(judged)
    elif judged:
        show_tables([tabulate_judged(judged)], Screen())
    else:
        say(f"{file}: nothing has been judged yet; start with --arms ARM ARM --rater NAME")
    return code


def _judge_pairs(run: Run, pairs: Sequence[Pair], engine: str, file: Path) -> int:
    from understudy.runs.judge_engine import judge_pairs
    from understudy.runs.judgements import read_latest, write_judgements

    latest = read_latest(file)  # before anything is paid for
    judged, replies = judge_pairs(run, pairs, *_load_engine(run, engine), _report_replies)
    write_judgements(file, (j for j in judged if j.key not in latest or latest[j.key].choice != j.choice))
    return _report_unjudged(replies, "pairs")


def _judge_chains(run: Run, engine: str, limit: int | None, *, as_json: bool) -> int:
    from understudy.runs.judge_engine import compare_with_check, judge_chains

    judged, replies = judge_chains(run, *_load_engine(run, engine), _report_replies, limit)
    title = f"{len(judged):,} chains: the model's verdict, and what the check {run.study.checks[0]} says of the same"
    show_facts(title, compare_with_check(run, judged), as_json=as_json)
    return _report_unjudged(replies, "chains")


def _load_engine(run: Run, engine: str) -> tuple[Teacher, Path]:
    from understudy.studies.load import load_teacher

    return (run.study.teacher, run.study.root) if engine == "teacher" else (load_teacher(Path(engine)), Path(engine).parent)


def _report_replies(stage: str, done: int, total: int, note: str = "") -> None:
    if total == 0 or done % 100 == 0:
        say(note or f"{stage}: {done:,} of {counted(total, 'reply')}", sys.stderr)


def _report_unjudged(replies: Replies, kind: str) -> int:
    """Print what was not judged and why, and return the exit code."""
    total, errors = f"of {len(replies.asked):,} {kind}", list(replies.errors.values())
    if unread := replies.unread - replies.errors.keys():
        reason = "a reply names no choice, is refused, or is cut off (teacher.options.max_tokens)"
        say(f"not judged: {len(unread):,} {total}; {reason}", sys.stderr)
    if errors:
        first = "raise teacher.budget and " if replies.budget_spent else ""
        say(f"not judged: {len(errors):,} {total}: {errors[0]}; {first}run it again to ask for them", sys.stderr)
    return WITH_ERRORS if errors else DONE


def _name(text: str) -> str:
    text.encode()  # argparse reports the ValueError of a name that is not valid Unicode
    return text


def show_training(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    add_run(parser)
    parser.add_argument("--arm", help="one arm of the study (default: all)")
    parser.add_argument("-n", type=int, default=2, metavar="N", help="examples of each student (default 2, at most 5 are kept)")
    add_json(parser, "print everything that was kept, as JSON")
    options = parser.parse_args(argv)

    from understudy.runs.run import Run
    from understudy.training.record import read_seen

    run = Run(options.run)
    students = run.name_students(run.arms if options.arm is None else [run.arm(options.arm).name])
    if not students:
        subject = "the study" if options.arm is None else f"the arm {options.arm!r}"
        raise UserError(f"{options.run}: {subject} trains no student; name another one")
    records = [(name, read_seen(stage)) for stage, name in students.items()]
    if options.json:
        print_json([{"arm": name, **vars(saw)} for name, saw in records])
        return
    for name, saw in records:
        _show_student(name, saw, options.n, Screen())


def _show_student(name: str, saw: TrainingRecord, n: int, console: Console) -> None:
    """Print what one student was trained on: counts, lengths and ``n`` examples."""
    console.print(Text(name, style="bold"))
    left_out = f", {saw.too_long:,} left out as too long" if saw.too_long else ""
    console.print(f"{saw.examples:,} examples of {saw.problems:,} problems{left_out}; {saw.duplicates:,} equal to an earlier one")
    console.print(f"{saw.steps:,} steps saw {saw.seen_tokens:,} tokens, of which {saw.tokens:,} bore loss")
    if len(saw.groups) > 1:
        console.print(Text(f"loss groups: {', '.join(f'{name} {count:,}' for name, count in saw.groups.items())}"))
    ends = f"{saw.ended:,} of {saw.examples:,} end with the end token {saw.end_token}"
    weights = ", ".join(f"{weight} ({count:,} tokens)" for weight, count in saw.weights.items())
    console.print(Text(f"{ends}; loss weights: {weights}"))
    console.print(f"tokens per example, longest {saw.longest}, context {saw.context}:")
    largest = max(count for _, _, count in saw.lengths)
    for low, high, count in saw.lengths:
        warning = "  too long" if low > saw.context else ""
        console.print(Text(f"  {low:>5} to {high:<5} {'█' * round(40 * count / largest):<40} {count:,}{warning}"))
    for example in saw.shown[:n]:
        console.print(_draw_tokens(example))
    console.print(LEGEND)


def _draw_tokens(example: ShownExample) -> Text:
    """Draw an example token by token. Brackets mark what bears loss, for terminals without colours."""
    line, bearing = Text("\n"), False
    for text, weight in example.tokens:
        if bearing != (weight != 0):
            line.append("⟦" if weight else "⟧", style="bold")
        bearing = weight != 0
        line.append(text.replace("\n", "⏎"), style="bold green" if weight > 0 else "red" if weight < 0 else "dim")
        if weight not in (0, 1):
            line.append(f"({weight:g})", style="yellow")
        line.append("·", style="dim")
    return line.append("⟧" if bearing else "", style="bold")
