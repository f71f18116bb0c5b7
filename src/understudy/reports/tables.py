"""The tables of a report, built once (`reports.cells`); the terminal, Markdown and the page only render them."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from operator import itemgetter

from understudy.reports import data
from understudy.reports.cells import Cell, Column, Content, Table, tabulate
from understudy.reports.words import file_name, percent, short_p, signed

TEXTS: Mapping[str, str] = tomllib.loads((files("understudy.reports") / "tables.toml").read_text("utf-8"))
"""Table -> what stands above or below it in every report."""


def make_tables(report: data.ReportData) -> Iterator[Table]:
    """Yield every table of ``report`` that has rows, in reading order."""
    tables = [
        *(tabulate_accuracy(report, split) for split in list_splits(report)),
        *(tabulate_comparisons(report, split) for split in list_splits(report)),
        tabulate_consistency(report.consistency),
        tabulate_comparisons(report, data.ALL_VERSIONS),
        *(_tabulate_votes(votes, drawn=votes.split == report.summaries[0].split) for votes in report.votes),
        *map(_tabulate_cascade, report.cascades),
        _tabulate_parts(report.attributions),
        tabulate_faithfulness(report.faithfulness),
        _tabulate_steps(report.first_wrong),
        tabulate_judged(report.judged),
        _tabulate_bins(report.perplexity),
        _tabulate_worth(report),
        _tabulate_chains(report),
        _tabulate_training(report.curves),
    ]
    return (table for table in tables if table.rows)


def list_splits(report: data.ReportData) -> list[str]:
    return list(dict.fromkeys(s.split for s in report.summaries))


def tabulate_accuracy(report: data.ReportData, split: str) -> Table:
    """Tabulate the arms on one split."""
    summaries = [s for s in report.summaries if s.split == split]
    of_split = [g for g in report.groups if g.split == split]
    groups = {(g.arm, g.value): percent(g.accuracy) for g in of_split}
    untrained = {g.value for g in of_split if not g.trained}
    values = list(dict.fromkeys(g.value for g in of_split))
    if len(values) == 1 and not untrained and {g.n for g in of_split} == {s.n for s in summaries}:
        values = []  # its column would repeat the accuracy

    heads = {value: Column(value + "*" * (value in untrained), number=True, wide=sum(map(len, values)) > 24) for value in values}
    by_value = [(head, lambda s, value=value: groups.get((s.arm, value), "")) for value, head in heads.items()]
    columns = _list_columns(summaries, *by_value)
    notes = [f"{values[0]} to {values[-1]}: by {report.by}{', * not trained on' if untrained else ''}"] if values else []
    notes += ["tokens, read: written and read per answer, over all calls and votes", "ms: per answer, all answered together"]
    notes += [f"{remark} of these arms" for remark in dict.fromkeys(s.says for s in summaries) if remark]
    pictures = [f"accuracy-{split}", f"by-{report.by}-{split}"] + [f"by-{report.by}"] * (split == report.summaries[-1].split)
    if split == report.summaries[0].split:
        pictures += ["cost", "time", *dict.fromkeys(f"sweep-{file_name(point.key)}" for point in report.swept)]
    return tabulate(f"Accuracy on {split}", summaries, columns, *pictures, about=_count_answers(summaries), note=" · ".join(notes))


def _count_answers(summaries: Sequence[data.ArmSummary]) -> str:
    """Say how many answers the numbers of a table of arms are about, and what chance gives."""
    first, n, seed_count = summaries[0], max(s.n // s.seeds for s in summaries), max(s.seeds for s in summaries)
    seeds = f" x {seed_count} training seeds" if seed_count > 1 else ""
    chance = f"Chance {percent(first.chance)}, best" if first.chance else "Best"
    units = "accuracies in percent; wrong, no answer, cut off: numbers of answers; stops: percent that ended by themselves"
    return f"n = {n:,} problems{seeds}. {units}. {chance} constant answer {percent(first.majority)}."


def _list_columns(summaries: Sequence[data.ArmSummary], *further: Content[data.ArmSummary]) -> list[Content[data.ArmSummary]]:
    """List the columns of a table of arms; ``further`` stand after the accuracy."""
    calls, errors = any(s.calls_per_answer > 1 for s in summaries), any(s.errors for s in summaries)
    return [
        (Column("arm"), lambda s: Cell(s.arm, "name")),
        (Column("decoding", wide=True), lambda s: s.decoding),
        (Column("n", number=True, needed=len({s.n // s.seeds for s in summaries}) > 1), lambda s: f"{s.n // s.seeds:,}"),
        (Column("accuracy", number=True), lambda s: percent(s.accuracy)),
        (Column("95 % interval"), lambda s: f"{percent(s.low)} to {percent(s.high)}"),
        (Column("each seed", needed=any(s.seeds > 1 for s in summaries)), lambda s: Cell(" ".join(map(percent, s.spread)), "dim")),
        *further,
        (Column("wrong", number=True, wide=True), lambda s: f"{s.wrong + s.undecidable:,}"),
        (Column("no answer", number=True, wide=True), lambda s: f"{s.unparsed:,}"),
        (Column("abstained", number=True, wide=True, needed=any(s.abstained for s in summaries)), lambda s: f"{s.abstained:,}"),
        (Column("cut off", number=True, wide=True), lambda s: f"{s.truncated:,}"),
        (Column("stops", number=True), lambda s: percent(s.stop_rate)),
        (Column("tokens", number=True), lambda s: f"{s.tokens_per_answer:.0f}"),
        (Column("read", number=True, wide=True), lambda s: f"{s.read_per_answer:.0f}"),
        # Nothing if all answers were in the ledger.
        (Column("ms", number=True, wide=True), lambda s: f"{1000 * s.seconds / max(1, s.n):.1f}" if s.seconds else ""),
        (Column("calls", number=True, needed=calls), lambda s: f"{s.calls_per_answer:.1f}"),
        (Column("errors", number=True, needed=errors), lambda s: Cell(str(s.errors), "bad" if s.errors else "plain")),
        (Column("", needed=any(s.says for s in summaries)), lambda s: Cell("at chance" if s.says else "", "bad")),
    ]


def tabulate_comparisons(report: data.ReportData, split: str) -> Table:
    """Tabulate the paired tests between the arms on one split."""
    cluster = report.cluster or ("" if split == data.ALL_VERSIONS else report.contrast)
    grouping = f"questions with the same {cluster} count together"
    test = f"Student's t, where {grouping}" if cluster else "exact McNemar test"
    students = "It compares these students only: one training seed cannot show which method is better"
    tests = f"p: {test}. {students if report.curves else 'It is about these answers only'}"
    if any(s.seeds > 1 for s in report.summaries):
        tests = "Intervals and p: Student's t over problems and training seeds, with the variance of seeds pooled over all arms"
        tests += f"; {grouping}" if cluster else ""
        if sum(s.seeds == 1 for s in report.summaries if s.split == split) > 1:
            tests += f"; between two arms that are not trained: {test}"
    subject = "The pairs that the study names" if report.chosen_pairs else "Every pair of arms"
    columns: list[Content[data.Comparison]] = [(Column("arms"), lambda c: f"{c.arm} − {c.other}"), *_TESTED]
    if any(c.unlike for c in report.comparisons):
        columns.append((Column("differ in", wide=True), lambda c: Cell(", ".join(c.unlike), "dim")))
    about = f"{subject}, on the same problems. p (Holm): corrected for the number of pairs of a split. {tests}."
    return tabulate(f"Compared on {split}", [c for c in report.comparisons if c.split == split], columns, about=about)


def _show_verdict(c: data.Comparison) -> Cell:
    return Cell(c.says, "bad" if c.at_chance else "dim" if c.p_holm >= 0.05 else "good" if c.difference > 0 else "bad")


_TESTED: Sequence[Content[data.Comparison]] = [
    (Column("difference", number=True), lambda c: signed(c.difference)),
    (Column("95 % interval"), lambda c: f"{signed(c.low)} to {signed(c.high)}"),
    (Column("p", number=True, wide=True), lambda c: short_p(c.p)),
    (Column("p (Holm)", number=True), lambda c: short_p(c.p_holm)),
    (Column("what can be said"), _show_verdict),
]
"""The result of a paired test."""


def tabulate_runs(compared: data.RunComparison) -> tuple[Table, Table]:
    """Tabulate the arms of several runs, the best first, and the tests of the best against each of the others."""
    arms = _list_columns(compared.arms, (Column("learned", number=True, wide=True), lambda s: f"{compared.learned[s.arm]:,.0f}"))
    pairs: list[Content[data.Comparison]] = [
        (Column(f"{compared.arms[0].arm} minus"), lambda c: Cell(c.other, "name")),
        *_TESTED,
        (Column("differ in", wide=True), lambda c: Cell(", ".join(c.unlike), "dim")),
    ]
    note = "tokens, read: written and read per answer · ms: per answer, all answered together · learned: tokens of the students"
    about = "p after Holm's correction over all pairs of the runs' arms, since these same answers showed which arm is the best."
    best = tabulate("The best against each of the others", compared.pairs, pairs, about=about)
    return tabulate(f"Arms on {compared.split}", compared.arms, arms, about=_count_answers(compared.arms), note=note), best


def tabulate_consistency(rows: Sequence[data.Consistency]) -> Table:
    """Tabulate how often arms answer all versions of a question right."""
    splits = list(dict.fromkeys(split for row in rows for split in row.accuracies))

    columns: list[Content[data.Consistency]] = [
        (Column("arm"), lambda c: Cell(c.arm, "name")),
        (Column("n", number=True), lambda c: f"{c.n:,}"),
        *((Column(f"accuracy on {split}", number=True), lambda c, split=split: percent(c.accuracies[split])) for split in splits),
        (Column("consistent", number=True), lambda c: percent(c.consistent)),
        (Column("95 % interval"), lambda c: f"{percent(c.low)} to {percent(c.high)}"),
        (Column(""), lambda c: Cell("at chance" if c.says else "", "bad")),
    ]
    about = "n: originals with changed versions, times seeds. Consistent: all versions of an original are answered right. Percent."
    about += f" By chance, or with the best constant answer: {percent(rows[0].chance)}." if rows else ""
    return tabulate("Contrast sets", rows, columns, about=about)


def _tabulate_votes(votes: data.Votes, *, drawn: bool) -> Table:
    rates = {"maj@k": votes.majority, "weighted": votes.weighted, "likeliest": votes.likeliest, "pass@k": votes.any_correct}
    rows = [[name, *map(percent, rate)] for name, rate in rates.items() if rate]
    rows.append(["tokens", *(f"{votes.tokens * k:.0f}" for k in votes.k)])
    columns: list[Content[list[str]]] = [(Column("k"), lambda row: Cell(row[0], "name"))]
    columns += [(Column(str(k), number=True), itemgetter(index)) for index, k in enumerate(votes.k, 1)]
    pictures = [f"votes-{file_name(votes.arm)}"] if drawn else []
    about = "Percent; tokens: read and written per answer."
    return tabulate(f"Votes: {votes.arm}, {votes.split}", rows, columns, *pictures, about=about)


def _tabulate_cascade(cascade: data.Cascade) -> Table:
    steps = [i for i in range(len(cascade.agreement)) if i == 0 or cascade.asked[i] != cascade.asked[i - 1]]
    columns: list[Content[int]] = [
        (Column("votes that agree, at least", number=True), lambda i: percent(cascade.agreement[i])),
        (Column("teacher asked", number=True), lambda i: percent(cascade.asked[i])),
        (Column("accuracy", number=True), lambda i: percent(cascade.accuracy[i])),
        (Column("teacher's tokens", number=True), lambda i: f"{cascade.tokens[i]:.0f}"),
    ]
    about = f"{cascade.arm} answers if enough of its votes agree, else {cascade.teacher}; from {cascade.n:,} recorded answers. "
    about += f"Its votes read and write {cascade.own:.0f} tokens per answer. "
    about += "Choose the share on a dev split: a share chosen on test looks better than it is. Percent."
    pictures = [f"cascade-{file_name(cascade.arm)}-{file_name(cascade.teacher)}"]
    return tabulate(f"Cascade: {cascade.arm}, then {cascade.teacher}, {cascade.split}", steps, columns, *pictures, about=about)


def _tabulate_parts(attributions: Sequence[data.Attribution]) -> Table:
    columns: list[Content[data.Attribution]] = [
        (Column("arm"), lambda a: Cell(a.arm, "name")),
        (Column("gold part"), lambda a: a.part),
        (Column("n", number=True), lambda a: f"{a.n:,}"),
        (Column("accuracy", number=True), lambda a: percent(a.accuracy)),
        (Column("with gold", number=True), lambda a: percent(a.with_gold)),
        (Column("difference", number=True), lambda a: signed(a.difference)),
        (Column("95 % interval"), lambda a: f"{signed(a.low)} to {signed(a.high)}"),
        (Column("p (Holm)", number=True), lambda a: short_p(a.p)),
        (Column("wrong answers corrected", number=True), lambda a: f"{a.mended:,} of {a.wrong:,}"),
    ]
    return tabulate(f"Errors by part{_name_split(attributions)}", attributions, columns, about=TEXTS["parts"])


_ALTERED = {
    "empty": "none",
    "half": "its first half",
    "corrupted": "other numbers, or its words in another order",
    "other": "that of a problem with another answer",
}


def tabulate_faithfulness(rows: Sequence[data.Faithfulness]) -> Table:
    """Tabulate the answers after altered rationales."""
    columns: list[Content[data.Faithfulness]] = [
        (Column("arm"), lambda f: Cell(f.arm, "name")),
        (Column("rationale"), lambda f: _ALTERED[f.how]),
        (Column("n", number=True), lambda f: f"{f.n:,}"),
        (Column("same answer", number=True), lambda f: percent(f.same)),
        (Column("95 % interval"), lambda f: f"{percent(f.low)} to {percent(f.high)}"),
        (Column("accuracy", number=True), lambda f: percent(f.before)),
        (Column("after it", number=True), lambda f: percent(f.after)),
    ]
    return tabulate(f"Faithfulness{_name_split(rows)}", rows, columns, about=TEXTS["faithfulness"])


def _tabulate_steps(rows: Sequence[data.FirstWrong]) -> Table:
    facts = {f"{f.arm} on {f.split}" if f.arm else "the teacher's chains": f for f in rows}
    columns: list[Content[str]] = [
        (Column("answers of"), lambda name: Cell(name, "name")),
        (Column("wrong", number=True), lambda name: f"{facts[name].wrong:,}"),
        (Column("first calculation that does not hold"), lambda name: _list_counts({f"step {k}:": n for k, n in facts[name].at})),
        (Column("all hold", number=True), lambda name: f"{facts[name].holds:,}"),
        (Column("none written", number=True), lambda name: f"{facts[name].without:,}"),
        (Column("right, but one does not hold"), lambda name: f"{facts[name].unsound:,} of {facts[name].worked:,}"),
        (Column("steps that hold"), lambda name: f"{percent(facts[name].hold / facts[name].steps)} % of {facts[name].steps:,}"),
    ]
    silent = [name for name, f in facts.items() if f.wrong == f.without and not f.worked]
    note = f"Not shown, since they write down no calculation: {', '.join(silent)}." if silent else ""
    return tabulate("First wrong step", [name for name in facts if name not in silent], columns, about=TEXTS["steps"], note=note)


def tabulate_judged(rows: Sequence[data.Judged]) -> Table:
    """Tabulate what people and engines prefer in pairs of arms."""
    alike = Column("alike", number=True, wide=True, needed=any(judged.steady is not None for judged in rows))
    columns: list[Content[data.Judged]] = [
        (Column("arm"), lambda j: Cell(j.arm, "name")),
        (Column("against"), lambda j: j.other),
        (Column("questions", wide=True), lambda j: f"{j.n:,} of {j.split}{', both right' if j.both_right else ''}"),
        (Column("better, worse, neither"), lambda j: f"{j.wins:,}, {j.losses:,}, {j.n - j.wins - j.losses:,}"),
        (Column("win rate"), lambda j: percent(j.rate)),
        (Column("95 % interval"), lambda j: f"{percent(j.low)} to {percent(j.high)}"),
        (Column("p", number=True, wide=True), lambda j: f"{j.p:.4f}"),
        (Column("judged by"), lambda j: j.by or f"{j.raters:,} {'person' if j.raters == 1 else 'people'}"),
        (Column("alpha", number=True, wide=True), lambda j: "" if j.alpha is None else f"{j.alpha:.2f}"),
        (Column("left side", wide=True), lambda j: f"{j.left:,} of {j.chosen:,}, p {j.left_p:.2f}"),
        (alike, lambda j: "" if j.steady is None else percent(j.steady)),
    ]
    stale = sum(j.stale for j in rows)
    note = f"{stale:,} judgements are not counted: the arms answer with other texts now." if stale else ""
    return tabulate("Answers side by side", rows, columns, about=TEXTS["judged"], note=note)


def _tabulate_bins(rows: Sequence[data.Perplexity]) -> Table:
    columns: list[Content[data.Perplexity]] = [
        (Column("replies of"), lambda p: Cell(p.who or "teacher", "name")),
        (Column("to"), lambda p: p.split),
        (Column("n", number=True), lambda p: f"{sum(b.n for b in p.bins):,}"),
        (Column("from least perplexed to most"), lambda p: ", ".join(f"{percent(b.accuracy)} ({b.most:.3g})" for b in p.bins)),
    ]
    return tabulate("Perplexity and correctness", rows, columns, "perplexity", about=TEXTS["bins"])


def _tabulate_worth(report: data.ReportData) -> Table:
    facts = report.teacher.worth.describe() if report.teacher.chains else {}
    columns: list[Content[str]] = [
        (Column("measure"), lambda name: Cell(name, "name")),
        (Column("value"), lambda name: facts[name]),
    ]
    return tabulate("What the teacher's chains are worth", list(facts), columns, about=TEXTS["worth"])


def _tabulate_chains(report: data.ReportData) -> Table:
    columns: list[Content[data.ArmSelection]] = [
        (Column("arm"), lambda s: Cell(s.arm, "name")),
        (Column("chains kept", number=True), lambda s: f"{s.kept:,} of {s.chains:,}" if s.used else Cell("uses none", "dim")),
        (Column("dropped"), lambda s: _list_counts(s.dropped) if s.used else ""),
        (Column("problems with a chain", number=True), lambda s: f"{s.covered:,} of {s.problems:,}" if s.used else ""),
        (Column("examples", number=True), lambda s: f"{s.examples:,}"),
    ]
    authors = f" by {', '.join(report.teacher.teachers)}" if report.teacher.teachers else ""
    wrote = f"{report.teacher.chains:,} chains for {report.teacher.problems:,} problems{authors}"
    checked = " ".join(f"The check {check} found: {_list_counts(counts)}." for check, counts in report.teacher.outcomes.items())
    people = f" For {report.teacher.relabelled:,} chains, people's verdicts count instead." if report.teacher.relabelled else ""
    about = f"The teacher ({report.teacher.engine}) wrote {wrote}. {checked}{people}"
    return tabulate("Chains", report.selected, columns, "chains", about=about)


def _tabulate_training(curves: Sequence[data.Curve]) -> Table:
    columns: list[Content[data.Curve]] = [
        (Column("student"), lambda c: Cell(c.arm, "name")),
        (Column("seed", number=True), lambda c: str(c.seed)),
        (Column("parameters", number=True), lambda c: f"{c.parameters:,}"),
        (Column("examples", number=True), lambda c: f"{c.saw.examples:,}"),
        (Column("duplicates", number=True), lambda c: f"{c.saw.duplicates:,}"),
        (Column("too long", number=True), lambda c: Cell(f"{c.saw.too_long:,}", "bad" if c.saw.too_long else "plain")),
        (Column("longest", number=True), lambda c: f"{c.saw.longest} of {c.saw.context}"),
        (Column("tokens seen", number=True), lambda c: f"{c.saw.seen_tokens:,}"),
        (Column("learned", number=True), lambda c: f"{c.saw.tokens:,}"),
        (Column("kept at step", number=True), lambda c: f"{c.best} of {c.losses[-1][0]}"),
        (Column("seconds", number=True), lambda c: f"{c.seconds:.0f}"),
    ]
    return tabulate("Training", curves, columns, "curves", note=TEXTS["training"])


def _list_counts(counts: Mapping[str, int]) -> str:
    """List counts: ``wrong 3, duplicate 1``."""
    return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "none"


def _name_split(rows: Sequence[data.Attribution | data.Faithfulness]) -> str:
    return f" on {rows[0].split}" if rows else ""
