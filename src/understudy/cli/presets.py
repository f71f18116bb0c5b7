"""presets: the papers' experiments that come with the package; with a name, the file of one."""

from collections.abc import Sequence

from rich.table import Table

from understudy.cli.arguments import make_parser
from understudy.cli.table import Screen
from understudy.core.errors import UserError, nearest
from understudy.pipeline.plan import make_plan
from understudy.pipeline.stages.student import StudentStage
from understudy.studies.load import load_study
from understudy.studies.presets import list_presets


def main(verb: str, argv: Sequence[str]) -> None:
    parser = make_parser(verb)
    parser.add_argument("name", nargs="?", help="print this preset: every value with where it is from")
    options = parser.parse_args(argv)
    presets = {preset.name: preset for preset in list_presets() if preset.profiles}
    if options.name:
        if options.name not in presets:
            raise UserError(f"there is no preset {options.name!r}{nearest(options.name, list(presets))} (see understudy presets)")
        print(presets[options.name].file.read_text(encoding="utf-8"), end="")
        return
    table = Table("preset", "what", "profile", "chains a question", "students", "steps", box=None, header_style="bold")
    for preset in presets.values():
        for place, profile in enumerate(preset.profiles):
            study = load_study(preset.name, profile=profile)
            students = [stage for stage in make_plan(study).stages.values() if isinstance(stage, StudentStage)]
            steps = sum(stage.training.steps or 0 for stage in students)
            first = (preset.name, preset.title) if not place else ("", "")
            chains = "recorded" if study.teacher.engine == "recorded" else str(study.teacher.samples)
            table.add_row(*first, profile, chains, str(len(students)), f"{steps:,}")
    Screen().print(table)
    print("\nunderstudy run PRESET --profile PROFILE runs one; --dry-run says what it would ask and train; smoke takes minutes.")
