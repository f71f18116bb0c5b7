"""presets: the papers' experiments that come with the package; with a name, the file of one and those it starts from."""

from argparse import ArgumentParser
from collections.abc import Sequence

from rich.text import Text

from understudy.cli.table import Screen
from understudy.core.errors import UserError, counted, with_known
from understudy.studies.load import load_study
from understudy.studies.presets import list_presets
from understudy.studies.study import Study, student_of_role, trained_roles, training_of_role
from understudy.training.options import STEPS


def main(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("name", nargs="?", help="print this preset: every value with where it is from")
    options = parser.parse_args(argv)
    presets = {preset.name: preset for preset in list_presets() if preset.profiles}
    if options.name:
        if options.name not in presets:
            raise UserError(f"there is no preset {with_known(options.name, presets)}")
        for file in presets[options.name].files():
            print(f"# ---- {file.name}\n{file.read_text(encoding='utf-8')}")
        return
    screen = Screen()
    for preset in presets.values():
        screen.print(Text.assemble((preset.name, "bold"), f"  {preset.title}"), soft_wrap=True)
        for profile in preset.profiles:
            study = load_study(preset.name, profile=profile)
            n = study.teacher.samples
            chains = "recorded chains" if study.teacher.engine == "recorded" else f"{counted(n, 'chain')} a question"
            students, steps = count_training(study)
            trains = f"{counted(students, 'student')}, {counted(steps, 'step')} in all" if students else "nothing is trained"
            screen.print(Text(f"  {profile:<12} {chains}; {trains}", style="dim"), soft_wrap=True)
    print("\nunderstudy run PRESET --profile PROFILE runs one; --dry-run says what it would ask and train; smoke takes minutes.")


def count_training(study: Study) -> tuple[int, int]:
    """How many students the study trains, with those of folds, and in how many steps. Files and models need not be there."""
    students: dict[str, tuple[int, int]] = {}
    for arm in study.arms:
        method = study.method(arm)
        for role in trained_roles(arm, method):
            training = training_of_role(study, arm, role)
            folds = method.folds if any(role in needs for needs in method.needs.values()) else 0
            # Arms that agree in all of this train one student.
            what = [method, arm.select, arm.fraction, role, student_of_role(study, arm, role), training]
            students[repr(what)] = ((1 + folds) * study.seeds, training.steps or STEPS)
    return sum(n for n, _ in students.values()), sum(n * steps for n, steps in students.values())
