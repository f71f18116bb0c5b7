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
from understudy.studies.guess import Guess, guess, study_text
from understudy.studies.load import load_study
from understudy.studies.options import Teacher
from understudy.studies.presets import list_presets
from understudy.studies.study import Study, student_of_role, swapped_parts, trained_roles, training_of_role
from understudy.tasks.rows import find_fields
from understudy.training.options import STEPS


def main(parser: ArgumentParser, argv: Sequence[str]) -> None:
    help_ = "questions: .jsonl, .json, .csv, .tsv, .parquet, .arrow, or a data set directory (DIR/SPLIT names one split of it)"
    parser.add_argument("file", metavar="FILE", type=Path, help=help_)
    parser.add_argument("--to", metavar="STUDY.toml", type=Path, help="the study to write (default: named after FILE, here)")
    options = parser.parse_args(argv)

    to = options.to or Path(f"{options.file.resolve().stem}.toml")
    if to.exists():
        raise UserError(f"{to}: already exists; choose another name with --to")
    found = guess(options.file)
    rows = found.rows.get("", found.rows.get("train", 0))
    if rows < 10:
        raise UserError(f"{options.file}: has {rows} rows; a split into train, dev and test needs at least 10")
    relative = os.path.relpath(options.file.resolve(), to.resolve().parent)
    to.write_text(study_text(options.file, found, to=to, relative=relative), encoding="utf-8")
    console = Screen()
    _show(found, console)
    try:
        load_study(to).make_task().problems(seed=0)
    except UserError as error:
        console.print(Text(f"some rows cannot be read with this study yet: {error}", style="yellow"))
    if found.layout.kind == "text" and (hint := _hint(found)):
        console.print(Text(hint, style="yellow"))
    console.print(Text(f"wrote {to}: look at it, then: understudy try {to} -n 3"))


def _hint(found: Guess) -> str:
    """Return advice about answers that are free text, "" if there is none to give."""
    answer = str(found.example.get(str(found.fields.get("answer")), ""))
    if "####" in answer:
        return 'the answers look like GSM8K\'s, with their rationale before ####: set task.name = "gsm8k"'
    return "the answers are whole texts: comparing them says little; name a field with short answers" if len(answer) > 100 else ""


def _show(found: Guess, console: Console) -> None:
    """Print what was guessed, field by field, with the first row's values."""
    kind = found.layout.kind
    fits = "no answers: nothing can be scored" if found.fit is None else f"answers of kind {kind} ({found.fit:.0%} fit)"
    splits = ", ".join(f"{name} {n:,}" for name, n in found.rows.items() if name)
    console.print(f"{sum(found.rows.values()):,} rows{f' ({splits})' if splits else ''}; {fits}")
    if found.layout.choices_in == "question":
        console.print("  the options are in the question's text")
    for ours, theirs in found.fields.items():
        names = (theirs,) if isinstance(theirs, str) else theirs
        read = (find_fields(theirs) if isinstance(theirs, str) else ()) or names
        value = " ".join(" | ".join(str(found.example.get(name, "")) for name in read).split())
        shown = value if len(value) <= 70 else value[:69] + "…"
        console.print(Text.assemble((f"  {ours:<10}", "bold"), (f"{', '.join(names)}: ", "dim"), shown))


def presets(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("name", nargs="?", help="print this preset, with the source of every value")
    options = parser.parse_args(argv)
    known = {preset.name: preset for preset in list_presets() if preset.profiles}
    if options.name:
        if options.name not in known:
            raise UserError(f"there is no preset {with_known(options.name, known)}")
        for file in known[options.name].files():
            print(f"# ---- {file.name}\n{file.read_text(encoding='utf-8')}")
        return
    screen = Screen()
    for preset in known.values():
        screen.print(Text.assemble((preset.name, "bold"), f"  {preset.title}"), soft_wrap=True)
        for profile in preset.profiles:
            study = load_study(preset.name, profile=profile)
            students, steps = count_training(study)
            trains = f"{counted(students, 'student'):>12}  {steps:>7,} x {study.training.batch_size} examples"
            trained = f"{trains if students else 'nothing is trained':<34}"
            row = f"  {profile:<12} {_describe_chains(study.teacher):<16} {trained} {count_answers(study):>4} answers"
            screen.print(Text(row, style="dim"), soft_wrap=True)
    print(
        "\nColumns: chains per question (x the most tokens of each); students; their steps in all x examples\nper step; answers to "
        "a test question. understudy run PRESET --profile PROFILE runs one (smoke: in minutes);\n--dry-run shows what it would do."
    )


def _describe_chains(teacher: Teacher) -> str:
    if teacher.engine in ("recorded", "procedural"):
        return "recorded" if teacher.engine == "recorded" else counted(teacher.samples, "chain")
    return f"{teacher.samples} x {teacher.make_method().max_tokens} tokens"


def count_answers(study: Study) -> int:
    """Count how often a question of the first split is answered: by every arm, seed and vote, and with gold in place of a part."""
    total = 0
    for arm in study.arms:
        method = study.method(arm)
        again = len(swapped_parts(arm, method)) if study.evaluation.attribution and study.evaluation.scored else 0
        total += arm.decode.votes * (study.seeds if trained_roles(arm, method) else 1) * (1 + again)
    return total


def count_training(study: Study) -> tuple[int, int]:
    """Count the students that the study trains, those of folds included, and their steps. No files or models are needed."""
    students: dict[str, tuple[int, int]] = {}
    for arm in study.arms:
        method = study.method(arm)
        for role in trained_roles(arm, method):
            training = training_of_role(study, arm, role)
            folds = method.folds if any(role in needs for needs in method.needs.values()) else 0
            # Arms that agree in all of this share one student.
            what = [method, arm.select, arm.fraction, role, student_of_role(study, arm, role), training]
            students[repr(what)] = ((1 + folds) * study.seeds, training.steps or STEPS)
    return sum(n for n, _ in students.values()), sum(n * steps for n, steps in students.values())
