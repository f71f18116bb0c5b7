"""The check ``judged``: what an engine said of a chain that it was shown without the gold answer (docs/judge.md)."""

from understudy.core.values import Chain, Outcome, Problem, Verdict


def judged(_problem: Problem, chain: Chain) -> Verdict:
    """UNDECIDABLE: what an engine said stands in its place where the study names the file with it (``study.relabels``)."""
    return Verdict(chain.id, Outcome.UNDECIDABLE, "no engine judged it (understudy judge RUN --chains --by FILE.toml)")
