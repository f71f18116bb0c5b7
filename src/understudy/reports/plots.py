"""The pictures of a report, drawn once, for the page as SVG and for documents as PNG."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from understudy.core.values import grouped
from understudy.reports.data import ArmSummary, Group, ReportData
from understudy.reports.tables import list_splits
from understudy.reports.words import file_name, natural, printable

LEGEND: Mapping[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
"""Where a legend is put."""
INK, PALE = "#27313b", "#8795a1"
COLOURS = ("#7b8794", "#2f6db3", "#1f9d78", "#d9772b", "#9b4f96", "#b8a038", "#c2455c", "#4f9bb3")
DROPPED = ("#d9772b", "#c9b458", "#9b4f96", "#c2455c", "#7b8794", "#4f9bb3", "#6b4f3a", "#3f5aa6", "#2d3640")


class Picture(NamedTuple):
    """A drawn figure. ``name``: of its file. ``caption``: what it shows, also for readers who cannot see it."""

    name: str
    caption: str
    figure: Figure

    @property
    def svg(self) -> str:
        """The picture as an SVG element, without the XML head; equal data give equal text."""
        buffer = io.StringIO()
        with _style():
            self.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
        text = buffer.getvalue()
        return text[text.index("<svg") :]

    def save(self, path: Path) -> Path:
        with _style():
            self.figure.savefig(path, dpi=160, bbox_inches="tight", metadata={"Software": None})
        return path


@contextmanager
def _style() -> Iterator[None]:
    """Apply the look of all pictures. Letters that the font lacks become boxes, without a warning: the tables have them."""
    with mpl.rc_context(fname=str(files("understudy.reports") / "pictures.mplstyle")), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def draw_pictures(data: ReportData) -> list[Picture]:
    """Draw every picture for which ``data`` has something to show."""
    makers = (_draw_accuracy, _draw_costs, _draw_sweeps, _draw_groups, _draw_votes, _draw_cascades, _draw_selection, _draw_curves)
    with _style():
        return [picture for make in (makers if data.summaries else [_draw_selection, _draw_curves]) for picture in make(data)]


def _clean(text: str) -> str:
    """Make a name safe for matplotlib to draw: no mathematics, no control characters, not longer than a line."""
    label = " ".join(printable(text).split()).replace("$", r"\$")
    return label if len(label) <= 44 else label[:43] + "…"


def _pick_colours(names: Sequence[str]) -> Mapping[str, str]:
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(names))}


def _make_axes(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _draw_line(axes: Any, x: Sequence[float], scores: Sequence[ArmSummary] | Sequence[Group], label: str, **style: Any) -> None:
    """Draw accuracies, in percent, with their intervals."""
    gaps = [[max(0.0, 100 * (s.accuracy - s.low)) for s in scores], [max(0.0, 100 * (s.high - s.accuracy)) for s in scores]]
    axes.errorbar(x, [100 * s.accuracy for s in scores], yerr=gaps, label=_clean(label), ms=4, elinewidth=1, **style)


def _number_axis(axis: Any) -> None:
    """Label the logarithmic ``axis`` with plain numbers, at 1, 2 and 5 times powers of ten."""
    axis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(mpl.ticker.NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def _draw_accuracy(data: ReportData) -> Iterator[Picture]:
    colours = _pick_colours([s.arm for s in data.summaries])
    for split in list_splits(data):
        summaries = [s for s in data.summaries if s.split == split][::-1]
        figure, axes = _make_axes(7, 0.9 + 0.42 * len(summaries))
        for y, s in enumerate(summaries):
            axes.barh(y, 100 * s.accuracy, color=colours[s.arm], height=0.62, alpha=0.45 if s.says else 0.9)
            axes.plot([100 * s.low, 100 * s.high], [y, y], color=INK, lw=1.4, solid_capstyle="butt")
            if s.seeds > 1:
                axes.plot([100 * a for a in s.spread], [y] * s.seeds, "o", color="white", mec=INK, ms=4, mew=0.8)
            label = f"{100 * s.accuracy:.1f}" + ("  at chance" if s.says else "")
            clear = {"fc": "white", "ec": "none", "pad": 1}  # the line of chance may pass there
            axes.text(100 * max(s.high, s.accuracy, *s.spread) + 1.8, y, label, va="center", fontsize=9, bbox=clear)
        floor = max(summaries[0].chance, summaries[0].majority)
        axes.axvline(100 * floor, color=PALE, lw=1, ls="--", zorder=0)
        axes.text(100 * floor, len(summaries) - 0.42, " chance or best constant answer", color=PALE, fontsize=7.5, va="bottom")
        axes.set_yticks(range(len(summaries)), [_clean(s.arm) for s in summaries])
        axes.set(xlim=(0, 112), ylim=(-0.6, len(summaries) - 0.1), xlabel="accuracy, %")
        axes.tick_params(axis="y", length=0)
        n, seed_count = max(s.n // s.seeds for s in summaries), max(s.seeds for s in summaries)
        seeds = f", {seed_count} training seeds (circles)" if seed_count > 1 else ""
        yield Picture(f"accuracy-{split}", f"Accuracy on {split} with 95 % intervals, n = {n:,} problems{seeds}.", figure)


def _draw_costs(data: ReportData) -> Iterator[Picture]:
    """Draw accuracy against the cost of an answer: choose from the arms at the upper left."""
    costs: dict[str, tuple[str, Callable[[ArmSummary], float]]] = {
        "cost": ("tokens written", lambda s: s.tokens_per_answer),
        "time": ("milliseconds", lambda s: 1000 * s.seconds / max(1, s.n)),  # 0 where all were in the ledger
    }
    split, colours = data.summaries[0].split, _pick_colours([s.arm for s in data.summaries])
    for name, (unit, cost) in costs.items():
        summaries = [s for s in data.summaries if s.split == split and cost(s) > 0]
        if len(summaries) < 2:
            continue
        figure, axes = _make_axes(5.2, 3)
        for s in summaries:
            axes.plot([cost(s)] * 2, [100 * s.low, 100 * s.high], color=colours[s.arm], lw=1)
            mark = "o" if list(colours).index(s.arm) < len(COLOURS) else "s"  # with many arms, colours repeat
            axes.plot([cost(s)], [100 * s.accuracy], mark, ms=6, color=colours[s.arm], label=_clean(s.arm))
        axes.set(xscale="log", xlabel=f"{unit} per answer (log scale)", ylabel="accuracy, %", ylim=(0, 103))
        _number_axis(axes.xaxis)
        axes.legend(**LEGEND)
        yield Picture(name, f"Accuracy on {split} with 95 % intervals, against {unit} per answer, all calls and votes.", figure)


def _draw_sweeps(data: ReportData) -> Iterator[Picture]:
    split = data.summaries[0].split
    by_arm = {s.arm: s for s in data.summaries if s.split == split}
    for key in dict.fromkeys(point.key for point in data.swept):
        points = [point for point in data.swept if point.key == key]
        words = any(isinstance(p.value, str) for p in points)
        values = [*dict.fromkeys(p.value for p in points)] if words else sorted({p.value for p in points})
        positions = {value: n for n, value in enumerate(values)}  # evenly spaced: values grow by factors, or are no numbers
        lines = [*dict.fromkeys(point.of for point in points)]
        figure, axes = _make_axes(5.2, 3)
        for i, line in enumerate(lines):
            offset = (i - (len(lines) - 1) / 2) * 0.06  # so that intervals do not hide each other
            curve = sorted(((positions[p.value] + offset, by_arm[p.arm]) for p in points if p.of == line), key=lambda pair: pair[0])
            style = {"color": COLOURS[(i + 1) % len(COLOURS)], "marker": "o", "ls": ":" if words else "-"}
            _draw_line(axes, [x for x, _ in curve], [s for _, s in curve], line, **style)
        names = [str(value).rpartition("/")[2] if words else f"{value:g}" for value in values]
        axes.set_xticks(range(len(values)), [_clean(name) for name in names], rotation=20 if words else 0)
        axes.set(xlabel=_clean(key), ylabel="accuracy, %", ylim=(0, 103))
        axes.legend(**LEGEND)
        yield Picture(f"sweep-{file_name(key)}", f"Accuracy on {split} against {key}, with 95 % intervals.", figure)


def _draw_groups(data: ReportData) -> Iterator[Picture]:
    joined = len({(g.arm, g.value) for g in data.groups}) == len(data.groups)  # no value is on two splits, which a line would mix
    for split, groups in grouped(("" if joined else g.split, g) for g in data.groups).items():
        if len({g.value for g in groups}) > 1:
            name, where = (f"by-{data.by}-{split}", f" on {split}") if split else (f"by-{data.by}", "")
            yield Picture(name, f"Accuracy by {data.by}{where}, with 95 % intervals.", _draw_values(data, groups))


def _draw_values(data: ReportData, all_groups: Sequence[Group]) -> Figure:
    """Draw the accuracy of each arm over the values of the study's ``by``."""
    values = sorted({g.value for g in all_groups}, key=natural)
    joined = all(value.lstrip("-")[:1].isdecimal() for value in values)  # names have no order that a line would show
    colours = _pick_colours([s.arm for s in data.summaries])
    trained = {g.value for g in all_groups if g.trained}
    figure, axes = _make_axes(7, 3.4)
    arms = list(dict.fromkeys(g.arm for g in all_groups))
    for i, arm in enumerate(arms):
        points = {g.value: g for g in all_groups if g.arm == arm}
        groups = [points[v] for v in values if v in points]
        x = [values.index(g.value) + (i - (len(arms) - 1) / 2) * 0.05 for g in groups]
        # With many arms, colours repeat: dashes and squares tell the arms apart.
        line, mark = ("-", "o") if list(colours).index(arm) < len(COLOURS) else ("--", "s")
        _draw_line(axes, x, groups, arm, color=colours[arm], marker=mark, ls=line if joined else "", lw=1.6)
    if (first_new := next((i for i, v in enumerate(values) if v not in trained), None)) is not None:
        axes.axvspan(first_new - 0.5, len(values) - 0.5, color="#f0f2f4", zorder=0)
        axes.text(first_new - 0.45, 101, "not trained on", fontsize=8, color=PALE, va="bottom")
    axes.set_xticks(range(len(values)), [_clean(v) for v in values])
    axes.set(ylim=(0, 103), xlim=(-0.5, len(values) - 0.5), xlabel=_clean(data.by), ylabel="accuracy, %")
    axes.legend(**LEGEND)
    return figure


def _draw_votes(data: ReportData) -> Iterator[Picture]:
    for v in (v for v in data.votes if v.split == data.summaries[0].split):
        figure, axes = _make_axes(5.2, 3)
        for rates, mark, colour, label in (
            (v.majority, "o", 1, "majority (maj@k)"),
            (v.weighted, "s", 3, "likelihood-weighted"),
            (v.likeliest, "d", 2, "the likeliest sample"),
            (v.any_correct, "^", 0, "any correct (pass@k)"),
        ):
            if rates:
                axes.plot(v.k, [100 * a for a in rates], marker=mark, ms=4, color=COLOURS[colour], label=label)
        students = {row.arm: (row.method, row.role_models) for row in data.rows}
        for s in data.summaries:
            if (s.split, s.decoding, students[s.arm]) == (v.split, "greedy", students[v.arm]):
                axes.axhline(100 * s.accuracy, color=PALE, ls="--", lw=1, label="greedy, same student")
                break
        axes.set(xlabel="k, samples per problem", ylabel="accuracy, %")
        axes.set_xticks(v.k if len(v.k) <= 16 else v.k[:: len(v.k) // 8])
        axes.legend(**LEGEND)
        yield Picture(f"votes-{file_name(v.arm)}", f"{v.arm}: accuracy of the vote on {v.split}, by number of samples.", figure)


def _draw_cascades(data: ReportData) -> Iterator[Picture]:
    """Draw accuracy, and how often the teacher is asked, against the share of votes that must agree."""
    for c in (c for c in data.cascades if c.split == data.summaries[0].split):
        teacher = next(s for s in data.summaries if (s.arm, s.split) == (c.teacher, c.split))
        figure, axes = _make_axes(5.2, 3)
        shares = [100 * a for a in c.agreement]
        axes.plot(shares, [100 * a for a in c.accuracy], marker="o", ms=3, color=COLOURS[1], label="accuracy")
        axes.plot(shares, [100 * a for a in c.asked], ls=":", color=COLOURS[0], label="teacher asked")
        axes.axhline(100 * teacher.accuracy, color=COLOURS[3], ls="--", lw=1, label=_clean(f"{c.teacher} alone"))
        axes.set(xlabel="votes that must agree, %", ylabel="questions, %", xlim=(-2, 102), ylim=(0, 103))
        axes.legend(**LEGEND)
        caption = f"{c.arm}, or {c.teacher} if too few votes agree: accuracy on {c.split}, and how often the teacher is asked."
        yield Picture(f"cascade-{file_name(c.arm)}-{file_name(c.teacher)}", caption, figure)


def _draw_selection(data: ReportData) -> Iterator[Picture]:
    if not (rows := [s for s in data.selected if s.used][::-1]):
        return
    reasons = list(dict.fromkeys(reason for s in rows for reason in s.dropped))
    figure, axes = _make_axes(7, 0.9 + 0.4 * len(rows))
    positions, ends = range(len(rows)), [s.kept for s in rows]
    axes.barh(positions, ends, color=COLOURS[2], height=0.6, label="kept")
    for reason, colour in zip(reasons, DROPPED * 3, strict=False):
        dropped = [s.dropped.get(reason, 0) for s in rows]
        axes.barh(positions, dropped, left=ends, color=colour, height=0.6, alpha=0.75, label=_clean(f"dropped: {reason}"))
        ends = [end + n for end, n in zip(ends, dropped, strict=True)]
    for y, (s, end) in enumerate(zip(rows, ends, strict=True)):
        axes.text(end * 1.01, y, f"{s.kept:,} of {s.chains:,}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [_clean(s.arm) for s in rows])
    axes.set(xlabel="chains", xlim=(0, 1.28 * max(s.chains for s in rows)))
    axes.tick_params(axis="y", length=0)
    axes.legend(**LEGEND)
    yield Picture("chains", "Chains that each arm's selection kept, and those it dropped, by reason.", figure)


def _draw_curves(data: ReportData) -> Iterator[Picture]:
    if not data.curves:
        return
    colours = _pick_colours([s.arm for s in data.summaries] or [curve.arm for curve in data.curves])
    figure = Figure(figsize=(8.4, 3))
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    lines: dict[str, str] = {}  # of an arm with two students, the second is dotted
    for curve in data.curves:
        arm = curve.arm if curve.arm in colours else curve.arm.rpartition(" (")[0]  # "arm (role)"
        colour = colours.get(arm, COLOURS[-1])
        label = None if curve.arm in lines else _clean(curve.arm)
        line = lines.setdefault(curve.arm, "-" if arm not in {name.rpartition(" (")[0] for name in lines} else ":")
        parts = np.array_split(curve.losses, min(60, len(curve.losses)))  # smoothed: the mean step and loss of each part
        left.plot(*np.array([part.mean(axis=0) for part in parts]).T, color=colour, lw=1.3, ls=line, alpha=0.9)
        dev = [100 * v for _, v in curve.dev]
        right.plot([s for s, _ in curve.dev], dev, color=colour, lw=1.3, ls=line, marker="o", ms=3, label=label)
        if (best := dict(curve.dev).get(curve.best)) is not None:
            right.plot([curve.best], [100 * best], "o", ms=7, mfc="none", mec=colour)
    # Examples with negative weights take the loss below zero.
    scale = "log" if all(value > 0 for curve in data.curves for _, value in curve.losses) else "linear"
    left.set(xlabel="step", yscale=scale, title="training loss")
    if scale == "log":
        _number_axis(left.yaxis)
    title = "dev accuracy, % (ring: kept)" if any(curve.dev for curve in data.curves) else "dev: not scored"
    right.set(xlabel="step", xlim=left.get_xlim(), ylim=(0, 103), title=title)
    right.legend(**LEGEND)
    figure.tight_layout()
    yield Picture("curves", "How the students learned: loss of each step, smoothed, and dev accuracy of generated answers.", figure)
