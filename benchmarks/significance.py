"""How often the tests of a report err, and what they find: simulated studies of five arms.

    python benchmarks/significance.py                  # the table of docs/statistics.md, about ten minutes
    python benchmarks/significance.py --studies 50     # quicker, coarser
    python benchmarks/significance.py --clusters       # of one seed's accuracy, where answers belong together; a minute

A study: N questions of unequal difficulty (logit, SD 1.5), an effect of each arm on each question (SD 0.5), and an accuracy of
each training seed of each arm that differs by ``seeds vary`` points (SD). "wrong": studies in which any pair of equal arms is
said to differ after Holm's correction (of 10 pairs). "pair": pairs below .05 before it. "covers": 95 % intervals that hold the true
difference. "finds": of the pairs of an arm that is 15 points better and the four others, those that are said to differ. Beside
`evaluation.statistics.compare`: the test that it took the place of ("before"), which left the seeds' share out where it was
estimated at zero. "passages": questions in clusters of ten that share half of their difficulty and of the arms' effects. "2 x 3
decodings": six arms, of two students that answer in three ways, whose answers share .7 of their draws; the pairs that are counted
before the correction, as covered and as found are those of different students.

With ``--clusters``: one student answers questions in clusters. "covers": 95 % intervals of its accuracy that hold the true one;
"points": how wide they are; "as independent": both where clusters are not told. ``answers``: "alone" (each its own draw), "alike"
(one draw for a cluster), "half" (half of them their cluster's draw), "levels" (each cluster has a level of its own, of a beta
distribution whose correlation is .2), "fails" (a cluster is all wrong with that probability, and one answer in fifty besides).
"""

import argparse
import math
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from understudy.evaluation.statistics import Array, accuracy_interval, compare, holm, pool_noise

ARMS, LEVEL, BETTER, CLUSTER, SHARED = 5, 0.05, 0.15, 10, 0.7


def draw(
    rng: np.random.Generator, *, students: int, decodings: int, seeds: int, n: int, spread: float, better: float, clustered: bool
) -> Array:
    """[students x decodings, S, N]: the arms of the first student are ``better`` than the others."""

    def effect(*shape: int) -> Array:
        own = rng.normal(size=(*shape, n))
        shared = np.repeat(rng.normal(size=(*shape, n // CLUSTER)), CLUSTER, axis=-1) if clustered else own
        return (own + shared) / math.sqrt(2) if clustered else own

    logit = 0.3 + 1.5 * effect() + 0.5 * effect(students)
    chance = 1 / (1 + np.exp(-logit))[:, None, :] + spread * rng.normal(size=(students, seeds, 1))
    chance[0] += better
    drawn = rng.random((students, seeds, n))
    if decodings > 1:
        chance, drawn = (np.repeat(values, decodings, axis=0) for values in (chance, drawn))
        drawn = np.where(rng.random(drawn.shape) < SHARED, drawn, rng.random(drawn.shape))
    return (drawn < chance).astype(float)


def before(difference_SN: Array) -> float:
    """The p of a two-way random effects analysis of variance with Satterthwaite's degrees of freedom."""
    seeds, n = difference_SN.shape
    by_problem, by_seed, mean = difference_SN.mean(0), difference_SN.mean(1), difference_SN.mean()
    ms_problem, ms_seed = seeds * by_problem.var(ddof=1), n * by_seed.var(ddof=1)
    rest = difference_SN - by_problem - by_seed[:, None] + mean
    ms_rest = (rest**2).sum() / ((seeds - 1) * (n - 1))
    parts = [(ms_problem, n - 1), (ms_seed, seeds - 1), (-ms_rest, (seeds - 1) * (n - 1))]
    parts = parts[:1] if ms_seed < ms_rest else parts[1:2] if ms_problem < ms_rest else parts
    total = sum(ms for ms, _ in parts)
    freedom = total**2 / sum(ms**2 / d for ms, d in parts)
    return float(2 * stats.t.sf(abs(mean) / math.sqrt(max(total, 1e-12) / (seeds * n)), freedom))


def simulate(
    studies: int, *, seeds: int, n: int, spread: float, clustered: bool, seed: int, students: int = ARMS, decodings: int = 1
) -> dict[str, float]:
    rng = np.random.default_rng([seed, seeds, n, round(1000 * spread), clustered])
    clusters = [str(i // CLUSTER) for i in range(n)] if clustered else None
    owners = [student for student in range(students) for _ in range(decodings)]
    pairs = list(combinations(range(len(owners)), 2))
    apart = [owners[i] != owners[j] for i, j in pairs]
    firsts = [differ and owners[i] == 0 for (i, _), differ in zip(pairs, apart, strict=True)]
    wrong, raw, covered, finds = {"now": 0, "before": 0}, 0, 0, {"now": 0, "before": 0}
    for better in (0.0, BETTER):
        for _ in range(studies):
            shape = {"students": students, "decodings": decodings, "seeds": seeds, "n": n}
            arms = draw(rng, **shape, spread=spread, better=better, clustered=clustered)
            noise = pool_noise(list(arms), owners)
            tests = [compare(arms[i], arms[j], noise, clusters=clusters) for i, j in pairs]
            found = {"now": holm([test.p for test in tests]), "before": holm([before(arms[i] - arms[j]) for i, j in pairs])}
            for name, p in found.items():
                if better:
                    finds[name] += sum(value < LEVEL for first, value in zip(firsts, p, strict=True) if first)
                else:
                    wrong[name] += min(p) < LEVEL
            if not better:
                raw += sum(test.p < LEVEL for test, differ in zip(tests, apart, strict=True) if differ)
                covered += sum(test.low <= 0 <= test.high for test, differ in zip(tests, apart, strict=True) if differ)
    of_pairs, of_better = studies * sum(apart), studies * sum(firsts)
    return {
        "wrong, before": wrong["before"] / studies,
        "wrong": wrong["now"] / studies,
        "pair": raw / of_pairs,
        "covers": covered / of_pairs,
        "finds, before": finds["before"] / of_better,
        "finds": finds["now"] / of_better,
    }


def draw_clustered(rng: np.random.Generator, answers: str, wrong: float, sizes: list[int]) -> tuple[Array, float]:
    """[1, N] answers of one student, and its true accuracy."""

    def shared(values: Array) -> Array:
        return np.repeat(values, sizes)

    n, of_cluster = sum(sizes), rng.random(len(sizes)) >= wrong
    if answers == "levels":
        correlated = 1 / 0.2 - 1
        right = rng.random(n) < shared(rng.beta((1 - wrong) * correlated, wrong * correlated, len(sizes)))
    elif answers == "fails":
        return (shared(of_cluster) & (rng.random(n) < 0.98)).astype(float)[None], 0.98 * (1 - wrong)
    else:
        together = {"alone": 0.0, "half": 0.5, "alike": 1.0}[answers]
        right = np.where(rng.random(n) < together, shared(of_cluster), rng.random(n) >= wrong)
    return right.astype(float)[None], 1 - wrong


def show_clusters(studies: int, seed: int) -> None:
    header = "clusters x questions, answers, wrong, covers, points, covers as independent, points as independent".split(", ")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    equal = [[size] * clusters for clusters, size in ((3, 10), (10, 10), (20, 5), (30, 10), (40, 25), (100, 10), (300, 3))]
    for sizes in (*equal, [100] * 2 + [5] * 18, [300] + [1] * 100, [20] * 5 + [1] * 100):
        names = [str(i) for i, size in enumerate(sizes) for _ in range(size)]
        told = " + ".join(f"{sizes.count(size)} x {size}" for size in dict.fromkeys(sizes))
        for answers in ("alone", "half", "alike", "levels", "fails"):
            for wrong in (0.02, 0.1, 0.5):
                rng = np.random.default_rng([seed, *sizes[:2], len(sizes), round(100 * wrong)])
                found = []
                for _ in range(studies):
                    right, true = draw_clustered(rng, answers, wrong, sizes)
                    for clusters in (names, None):
                        low, high = accuracy_interval(right, clusters=clusters)
                        found += [low <= true <= high, high - low]
                means = 100 * np.array(found, dtype=float).reshape(studies, 4).mean(axis=0)
                print(f"| {told} | {answers} | {wrong:g} | {' | '.join(f'{value:.1f}' for value in means)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400, help="of each row, with and without a better arm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clusters", action="store_true", help="intervals of one accuracy, where questions belong together")
    options = parser.parse_args()
    if options.clusters:
        show_clusters(options.studies, options.seed)
        return
    header: list[Any] = []
    for seeds in (3, 5):
        for n in (150, 1000):
            five = [(False, 0.0), (False, 0.02), (False, 0.05), (False, 0.1), (True, 0.02)]
            cases = [(*case, ARMS, 1) for case in five] + [(False, spread, 2, 3) for spread in (0.02, 0.05, 0.1)]
            for clustered, spread, students, decodings in cases:
                shape = {"students": students, "decodings": decodings, "seeds": seeds, "n": n}
                found = simulate(options.studies, **shape, spread=spread, clustered=clustered, seed=options.seed)
                if not header:
                    header = ["seeds", "questions", "seeds vary", *found]
                    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
                several = f", {students} x {decodings} decodings" if decodings > 1 else ""
                points = f"{100 * spread:g} points{', passages' if clustered else ''}{several}"
                print(f"| {seeds} | {n} | {points} | {' | '.join(f'{100 * value:.1f}' for value in found.values())} |", flush=True)


if __name__ == "__main__":
    main()
