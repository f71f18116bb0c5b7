"""show-training: what a run's students were trained on, token by token."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from understudy.cli.arguments import add_json, add_run, make_parser
from understudy.cli.table import Screen
from understudy.core.errors import UserError
from understudy.training.record import ShownExample, TrainingRecord

LEGEND = Text("\ndim: read; ⟦green⟧: bears loss; · parts tokens; ⏎ is a line break\n", style="dim")


def main(verb: str, argv: Sequence[str]) -> None:
    parser = make_parser(verb)
    add_run(parser)
    parser.add_argument("--arm", help="one arm of the study (default: all)")
    parser.add_argument("-n", type=int, default=2, metavar="N", help="examples of each student (default 2, at most 5 are kept)")
    add_json(parser, "everything that was kept, as JSON")
    options = parser.parse_args(argv)

    from understudy.runs.run import Run
    from understudy.training.record import read_seen

    run = Run(options.run)
    students = run.name_students(run.arms if options.arm is None else [run.arm(options.arm).name])
    if options.arm and not students:
        raise UserError(f"{options.run}: the arm {options.arm!r} trains no student; name another one with --arm")
    seen = [(name, read_seen(stage)) for stage, name in students.items()]
    if options.json:
        print(json.dumps([{"arm": name, **asdict(saw)} for name, saw in seen], indent=1, ensure_ascii=False))
        return
    console = Screen()
    for name, saw in seen:
        show(name, saw, options.n, console)


def show(name: str, saw: TrainingRecord, n: int, console: Console) -> None:
    """One student: counts, lengths, ``n`` examples."""

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
    most = max(count for _, _, count in saw.lengths)
    for low, high, count in saw.lengths:
        over = "  too long" if low > saw.context else ""
        console.print(Text(f"  {low:>5} to {high:<5} {'█' * round(40 * count / most):<40} {count:,}{over}"))
    for example in saw.shown[:n]:
        console.print(draw_tokens(example))
    console.print(LEGEND)


def draw_tokens(example: ShownExample) -> Text:
    """An example token by token; without colours the brackets say what bears loss."""
    line, bears = Text("\n"), False
    for text, weight in example.tokens:
        if bears != (weight != 0):
            line.append("⟦" if weight else "⟧", style="bold")
        bears = weight != 0
        line.append(text.replace("\n", "⏎"), style="bold green" if weight > 0 else "red" if weight < 0 else "dim")
        if weight not in (0, 1):
            line.append(f"({weight:g})", style="yellow")
        line.append("·", style="dim")
    return line.append("⟧" if bears else "", style="bold")
