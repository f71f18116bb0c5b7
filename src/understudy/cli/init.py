"""The verbs `init` (write a first study for a file of questions) and `presets` (list the papers' experiments that come with the
package, or print the file of one, with the files it starts from)."""

import os
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from understudy.cli.table import Screen
from understudy.core.errors import UserError, counted, with_known
from understudy.studies.guess import Guess, guess, write_study
from understudy.studies.load import load_study
from understudy.studies.options import Teacher
from understudy.studies.presets import list_presets
from understudy.studies.study import Study, build_student, build_training, list_swapped, list_trained
from understudy.tasks.rows import find_fields
from understudy.training.options import STEPS


def main(parser: ArgumentParser, argv: Sequence[str]) -> None:
    help_ = "questions: .jsonl, .json, .csv, .tsv, .parquet, .arrow, or a data set directory (DIR/SPLIT names one split of it)"
    parser.add_argument("file", metavar="FILE", type=Path, help=help_)
    parser.add_argument("--to", metavar="STUDY.toml", type=Path, help="the study to write (default: named after FILE, here)")
    options = parser.parse_args(argv)

    study = options.to or Path(f"{options.file.resolve().stem}.toml")
    if study.exists():
        raise UserError(f"{study}: already exists; choose another name with --to")
    guessed = guess(options.file)
    rows = guessed.rows.get("", guessed.rows.get("train", 0))
    if rows < 10:
        raise UserError(f"{options.file}: has {counted(rows, 'row')}; a split into train, dev and test needs at least 10")
    relative = os.path.relpath(options.file.resolve(), study.resolve().parent)
    study.write_text(write_study(options.file, guessed, target=study, relative=relative), encoding="utf-8")
    console = Screen()
    _show(guessed, console)
    try:
        load_study(study).make_task().problems(seed=0)
    except UserError as error:
        console.print(Text(f"some rows cannot be read with this study yet: {error}", style="yellow"))
    if guessed.layout.kind == "text" and (hint := _advise(guessed)):
        console.print(Text(hint, style="yellow"))
    console.print(Text(f"wrote {study}: look at it, then: understudy try {study} -n 3"))


def _advise(guessed: Guess) -> str:
    """Return advice about answers that are free text, "" if there is none to give."""
    answer = str(guessed.example.get(str(guessed.fields.get("answer")), ""))
    if "####" in answer:
        return 'the answers look like GSM8K\'s, with their rationale before ####: set task.name = "gsm8k"'
    return "the answers are whole texts: comparing them says little; name a field with short answers" if len(answer) > 100 else ""


def _show(guessed: Guess, console: Console) -> None:
    """Print what was guessed, field by field, with the first row's values."""
    kind = guessed.layout.kind
    fits = "no answers: nothing can be scored" if guessed.fit is None else f"answers of kind {kind} ({guessed.fit:.0%} fit)"
    splits = ", ".join(f"{name} {n:,}" for name, n in guessed.rows.items() if name)
    console.print(f"{sum(guessed.rows.values()):,} rows{f' ({splits})' if splits else ''}; {fits}")
    if guessed.layout.choices_in == "question":
        console.print("  the options are in the question's text")
    unused = list(guessed.example)
    for field, column in guessed.fields.items():
        names = (column,) if isinstance(column, str) else column
        read = (find_fields(column) if isinstance(column, str) else ()) or names
        value = " ".join(" | ".join(str(guessed.example.get(name, "")) for name in read).split())
        shortened = value if len(value) <= 70 else value[:69] + "…"
        console.print(Text.assemble((f"  {field:<10}", "bold"), (f"{', '.join(names)}: ", "dim"), shortened))
        unused = [name for name in unused if name not in read]
    if unused:
        console.print(Text.assemble(("  not used  ", "bold"), ", ".join(unused)))


def presets(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("name", nargs="?", help="print this preset, with the source of every value")
    options = parser.parse_args(argv)
    by_name = {preset.name: preset for preset in list_presets() if preset.profiles}
    if options.name:
        if options.name not in by_name:
            raise UserError(f"there is no preset {with_known(options.name, by_name)}")
        for file in by_name[options.name].files():
            print(f"# ---- {file.name}\n{file.read_text(encoding='utf-8')}")
        return
    screen = Screen()
    for preset in by_name.values():
        screen.print(Text.assemble((preset.name, "bold"), f"  {preset.title}"), soft_wrap=True)
        for profile in preset.profiles:
            study = load_study(preset.name, profile=profile)
            students, steps = count_training(study)
            trains = f"{counted(students, 'student'):>12}  {steps:>7,} x {study.training.batch_size} visits"
            trained = f"{trains if students else 'nothing is trained':<32}"
            row = f"  {profile:<12} {_describe_chains(study.teacher):<16} {trained} {count_answers(study):>4} answers"
            screen.print(Text(row, style="dim"), soft_wrap=True)
    print(
        "\nColumns: chains per question (x the most tokens of each); students; their steps in all x visits\nper step; answers to "
        "a test question. understudy run PRESET --profile PROFILE runs one (smoke: in minutes);\n--dry-run shows what it would do."
    )


def _describe_chains(teacher: Teacher) -> str:
    if teacher.engine in ("recorded", "procedural"):
        return "recorded" if teacher.engine == "recorded" else counted(teacher.samples + teacher.greedy, "chain")
    return f"{teacher.samples + teacher.greedy} x {teacher.make_method().max_tokens} tokens"


def count_answers(study: Study) -> int:
    """Count how often a question of the first split is answered: by every arm, seed and vote, and with gold in place of a part."""
    total = 0
    for arm in study.arms:
        method = study.method(arm)
        repeats = len(list_swapped(arm, method)) if study.evaluation.attribution and study.evaluation.scored else 0
        total += arm.decode.votes * (study.seeds if list_trained(arm, method) else 1) * (1 + repeats)
    return total


def count_training(study: Study) -> tuple[int, int]:
    """Count the students that the study trains, those of folds included, and their steps. No files or models are needed."""
    students: dict[str, tuple[int, int]] = {}
    for arm in study.arms:
        method = study.method(arm)
        for role in list_trained(arm, method):
            training = build_training(study, arm, role)
            folds = method.folds if any(role in needs for needs in method.needs.values()) else 0
            # Arms that agree in all of this share one student.
            settings = [method, arm.select, arm.fraction, role, build_student(study, arm, role), training]
            students[repr(settings)] = ((1 + folds) * study.seeds, training.steps or STEPS)
    return sum(n for n, _ in students.values()), sum(n * steps for n, steps in students.values())
