"""show-training: what a run's students were trained on, token by token."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from understudy.cli.arguments import add_json, add_run, make_parser
from understudy.cli.guard import DONE
from understudy.core.errors import UserError, nearest


def main(verb: str, argv: Sequence[str]) -> int:
    parser = make_parser(verb)
    add_run(parser)
    parser.add_argument("--arm", help="one arm of the study (default: all)")
    parser.add_argument("-n", type=int, default=2, metavar="N", help="examples of each student (default 2, at most 5 are kept)")
    add_json(parser, "everything that was kept, as JSON")
    options = parser.parse_args(argv)

    from understudy.runs.run import Run
    from understudy.runs.scores import read_seen

    run = Run(options.run)
    if options.arm is not None and options.arm not in run.arms:
        raise UserError(f"{options.run}: there is no arm {options.arm!r}{nearest(options.arm, list(run.arms))}")
    names: dict[Path, list[str]] = {}
    trained = [arm for arm in run.arms if run.students(arm)]
    if options.arm is not None and options.arm not in trained:
        raise UserError(f"{options.run}: the arm {options.arm!r} trains nothing")
    for arm in trained if options.arm is None else [options.arm]:
        roles = next(iter(run.students(arm).values()))  # every seed sees the same examples
        for role, stage in roles.items():
            names.setdefault(stage, []).append(arm if len(roles) == 1 else f"{arm} ({role})")
    seen = [(" = ".join(shared), read_seen(stage)) for stage, shared in names.items()]
    if options.json:
        print(json.dumps([{"arm": name, **says} for name, says in seen], indent=1, ensure_ascii=False))
        return DONE
    console = Console(highlight=False)
    for name, says in seen:
        show(name, says, options.n, console)
    return DONE


def show(name: str, says: Mapping[str, Any], n: int, console: Console) -> None:
    """One student: counts, lengths, ``n`` examples."""
    from understudy.reports.words import printable

    console.print(Text(printable(name), style="bold"))
    left_out = f", {says['too_long']:,} left out as too long" if says["too_long"] else ""
    console.print(
        f"{says['examples']:,} examples of {says['problems']:,} problems{left_out}; {says['duplicates']:,} equal to an earlier one"
    )
    console.print(f"{says['steps']:,} steps saw {says['seen_tokens']:,} tokens, of which {says['tokens']:,} bore loss")
    if len(says["groups"]) > 1:
        console.print(Text(f"loss groups: {', '.join(f'{printable(name)} {count:,}' for name, count in says['groups'].items())}"))
    ends = f"{says['ended']:,} of {says['examples']:,} end with the end token {says['end_token']}"
    weights = ", ".join(f"{weight} ({count:,} tokens)" for weight, count in says["weights"].items())
    console.print(Text(f"{ends}; loss weights: {weights}"))
    console.print(f"tokens per example, longest {says['longest']}, context {says['context']}:")
    most = max(count for _, _, count in says["lengths"])
    for low, high, count in says["lengths"]:
        over = "  too long" if low > says["context"] else ""
        console.print(Text(f"  {low:>5} to {high:<5} {'█' * round(40 * count / most):<40} {count:,}{over}"))
    for example in says["shown"][:n]:
        line, bears = Text("\n"), False
        for text, weight in example["tokens"]:
            shown = printable(text).replace("\n", "⏎")
            if bears != (weight != 0):  # without colours the brackets say it
                line.append("⟦" if weight else "⟧", style="bold")
            bears = weight != 0
            line.append(shown, style="bold green" if weight > 0 else "red" if weight < 0 else "dim")
            if weight not in (0, 1):
                line.append(f"({weight:g})", style="yellow")
            line.append("·", style="dim")
        line.append("⟧" if bears else "", style="bold")
        console.print(line)
    console.print(Text("\ndim: read; ⟦green⟧: bears loss; · parts tokens; ⏎ is a line break\n", style="dim"))
