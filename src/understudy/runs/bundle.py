"""``students/ARM`` of a run: one directory with everything needed to answer as the arm did. ``cp -rL`` copies it elsewhere."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from understudy.corpus.card import inherit_terms
from understudy.pipeline.card import CARD, Card, read_card, write_card
from understudy.reports.words import file_name
from understudy.runs.run import Run


def bundle_students(directory: Path) -> None:
    """Make ``students/ARM`` (``ARM-seedN`` with several seeds) for every arm that trains, in the run ``directory``.

    It has a card that says how the arm decodes, and links to the files of the arm's student. If the arm has students of several
    roles, each is a link ``ROLE`` to the student's directory.
    """
    run = Run(directory)
    bundles = directory / "students"
    bundles.mkdir(exist_ok=True)
    for path in bundles.iterdir():
        _remove_bundle(path)
    corpus = run.study.corpus
    terms, licence = inherit_terms([run.chains_file], corpus.terms, corpus.licence)
    for name, arm in run.arms.items():
        by_seed = run.students(name)
        for seed, stages in by_seed.items():
            bundle = bundles / (file_name(name) + (f"-seed{seed}" if len(by_seed) > 1 else ""))
            bundle.mkdir(exist_ok=True)
            students = {role: stage / "student" for role, stage in stages.items()}
            links = students
            if len(students) == 1:
                (student,) = students.values()
                links = {file.name: file for file in student.iterdir() if file.name != CARD}
            for link, target in links.items():
                if not (bundle / link).exists():  # else the user has put a file of their own there
                    (bundle / link).symlink_to(os.path.relpath(target, bundle))
            write_card(bundle, replace(_join_cards(students), decode=arm.decode, terms=terms, licence=licence))


def _join_cards(students: Mapping[str, Path]) -> Card:
    """Make the card of one student, or of the students of several roles."""
    first, *rest = [read_card(student) for student in students.values()]
    if not rest:
        return first
    lineage = {name: folder for card in (first, *rest) for name, folder in card.lineage.items()}
    return replace(first, role="", weights="", lineage=lineage, students=tuple(students))


def _remove_bundle(path: Path) -> None:
    """Remove a bundle. Anything else there is the user's and stays."""
    if (path / CARD).is_file():
        for file in path.iterdir():
            if file.is_symlink() or file.name == CARD:
                file.unlink()
        if not any(path.iterdir()):
            path.rmdir()
