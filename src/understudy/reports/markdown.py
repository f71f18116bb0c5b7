"""The tables of a report as Markdown, for documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.reports.data import ReportData
from understudy.reports.words import percent, printable, short_p, steps


def markdown(data: ReportData) -> str:
    """Arms on every split, the paired comparisons, what selection kept, the votes, perplexity, the notes."""
    return "\n".join(_parts(data)) + "\n"


def _parts(data: ReportData) -> Iterator[str]:
    yield from (f"- {_text(note)}" for note in data.notes)
    teacher = data.teacher
    found = ", ".join(f"{name} {n:,}" for name, n in teacher["outcomes"].items())
    yield f"- Teacher ({teacher['engine']}): {teacher['chains']:,} chains for {teacher['problems']:,} problems; {found}."
    yield f"- Versions: {', '.join(f'{name} {number}' for name, number in data.versions.items())}."
    for split in dict.fromkeys(s.split for s in data.summaries):
        yield from _arms(data, split)
    for split in dict.fromkeys(c.split for c in data.comparisons):
        yield from ("", f"### Compared on {split}", "")
        rows: list[Sequence[str]] = [
            (
                f"{_text(c.arm)} − {_text(c.other)}",
                f"{100 * c.difference:+.1f}",
                f"{100 * c.low:+.1f} to {100 * c.high:+.1f}",
                short_p(c.p),
                short_p(c.p_holm),
                _text(c.says),
            )
            for c in data.comparisons
            if c.split == split
        ]
        yield from _table(("arms", "difference", "95 % interval", "p", "p (Holm)", "what can be said"), rows)
    yield from ("", "### Chains", "")
    rows = [
        (
            _text(s.arm),
            *(
                (
                    f"{s.kept:,} of {s.chains:,}",
                    ", ".join(f"{reason} {n:,}" for reason, n in s.dropped.items()) or "none",
                    f"{s.covered:,} of {s.problems:,}",
                )
                if s.used
                else ("uses none", "", "")
            ),
            f"{s.examples:,}",
        )
        for s in data.selected
    ]
    yield from _table(("arm", "chains kept", "dropped", "problems with a chain", "examples"), rows)
    for v in data.votes:
        yield from ("", f"### Votes: {_text(v.arm)}, {v.split}", "")
        rows = [("maj@k", *map(percent, v.majority))]
        rows += [("weighted", *map(percent, v.weighted))] if v.weighted else []
        rows += [("likeliest", *map(percent, v.likeliest))] if v.likeliest else []
        rows += [("pass@k", *map(percent, v.any_correct))]
        yield from _table(("k", *map(str, v.k)), rows)
    yield from _costs(data)
    yield from _errors(data)
    if data.perplexity:
        yield from ("", "### Perplexity and correctness", "", "Percent correct (perplexity up to), the least perplexed first.", "")
        most = max(len(p.bins) for p in data.perplexity)
        rows = []
        for p in data.perplexity:
            cells = [f"{percent(b.accuracy)} ({b.most:.3g})" for b in p.bins]
            rows.append((_text(p.who or "teacher"), p.split, f"{sum(b.n for b in p.bins):,}", *cells, *[""] * (most - len(cells))))
        yield from _table(("replies of", "to", "n", *(str(i) for i in range(1, most + 1))), rows)


def _costs(data: ReportData) -> Iterator[str]:
    first = data.summaries[0].split
    yield from ("", f"### What an answer to {first} costs", "")
    rows = [
        (
            _text(s.arm),
            percent(s.accuracy),
            f"{s.calls_per_answer:.1f}",
            f"{s.tokens_per_answer:.0f}",
            f"{s.read_per_answer:.0f}",
            f"{1000 * s.seconds / s.n:.1f}",
        )
        for s in data.summaries
        if s.split == first and s.n
    ]
    yield from _table(("arm", "accuracy", "calls", "tokens written", "prompt tokens read", "milliseconds"), rows)


def _errors(data: ReportData) -> Iterator[str]:
    """Whose errors they are."""
    if data.attributions:
        yield from ("", f"### Gold in the place of a part, on {data.attributions[0].split}", "")
        rows: list[Sequence[str]] = [
            (
                _text(a.arm),
                _text(a.part),
                f"{a.n:,}",
                percent(a.accuracy),
                percent(a.with_gold),
                f"{100 * a.difference:+.1f} ({100 * a.low:+.1f} to {100 * a.high:+.1f})",
                short_p(a.p),
                f"{a.mended:,} of {a.wrong:,}",
            )
            for a in data.attributions
        ]
        head = ("arm", "gold is", "n", "accuracy", "with gold", "difference (95 %)", "p", "wrong answers mended")
        yield from _table(head, rows)
    if data.first_wrong:
        yield from ("", f"### First wrong step of the wrong answers to {data.first_wrong[0].split}", "")
        places = sorted({place for f in data.first_wrong for place, _ in f.at})
        rows = [
            (_text(f.arm), f"{f.wrong:,}", *(f"{dict(f.at).get(place, 0):,}" for place in places), f"{f.holds:,}", f"{f.without:,}")
            for f in data.first_wrong
        ]
        yield from _table(("arm", "wrong", *(f"step {p}" for p in places), "all equations hold", "no equation"), rows)


def _arms(data: ReportData, split: str) -> Iterator[str]:
    summaries = [s for s in data.summaries if s.split == split]
    groups = list(dict.fromkeys(g.value for g in data.groups if g.split == split))
    untrained = {g.value for g in data.groups if g.split == split and not g.trained}
    yield from ("", f"### Accuracy on {split}", "")
    first = summaries[0]
    yield f"n = {first.n // first.seeds:,} problems x {first.seeds} training seeds; percent. " + (
        f"Chance {percent(first.chance)}, best constant answer {percent(first.majority)}."
    )
    yield ""
    head = ("arm", "decoding", "accuracy", "95 % interval", "each seed")
    tail = ("stops", "tokens", "errors", "")
    rows = []
    for s in summaries:
        by = {g.value: g.accuracy for g in data.groups if g.split == split and g.arm == s.arm}
        rows.append(
            (
                _text(s.arm),
                s.decoding,
                f"**{percent(s.accuracy)}**",
                f"{percent(s.low)} to {percent(s.high)}",
                ", ".join(map(percent, s.spread)),
                *(percent(by[v]) if v in by else "" for v in groups),
                percent(s.stop_rate),
                f"{s.tokens_per_answer:.0f}",
                str(s.errors),
                s.says,
            )
        )
    yield from _table((*head, *(steps(data.by, v, untrained=v in untrained) for v in groups), *tail), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _text(text: str) -> str:
    """Text of the user's, without what Markdown would take for its own."""
    return "".join(f"\\{c}" if c in "|*_`<>[]\\" else c for c in printable(text).replace("\n", " "))
