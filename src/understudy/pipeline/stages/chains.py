"""chains: the teacher's chains for the training problems, sampled through the ledger or read from files."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.checks.judge import judge
from understudy.core.asks import Decoding
from understudy.core.options import unkeyed
from understudy.core.protocols import EngineOptions, Method, Progress
from understudy.core.registry import find, find_module
from understudy.core.values import JSON, Chain, Problem, digest
from understudy.corpus.card import CorpusCard, inherit_terms, make_card, name_sources
from understudy.corpus.spool import Spool
from understudy.corpus.store import read_rows, write_json, write_rows
from understudy.engines.local.device import SettledDevice, settle_device
from understudy.engines.recorded import Recorded
from understudy.pipeline.card import describe_weights
from understudy.pipeline.connect import Capabilities, connect
from understudy.pipeline.stage import ERRORS, Context, Stage, StageSummary
from understudy.pipeline.stages.problems import ProblemsStage, make_pool
from understudy.sampling.account import Account
from understudy.sampling.ledger import Ledger
from understudy.sampling.sample import Sample, Sampling, sample
from understudy.studies.options import Corpus, Exemplars, Teacher

FILE = "chains.parquet"


@dataclass(frozen=True, kw_only=True)
class ChainsSummary(StageSummary):
    """How many ``chains`` for how many ``problems``, by which ``teachers``. ``corpus``: digest of the chains' ids. ``unasked``
    chains were not asked for, and ``stopped`` says why. ``versions``: how many chains each version of the model wrote, if there are
    several. ``imported``: what became of the rows of recorded chains. ``weights``: where those of a local teacher are from, if it
    is a GGUF file."""

    chains: int
    problems: int
    teachers: tuple[str, ...]
    corpus: str
    unasked: int = 0
    stopped: str = ""
    versions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    imported: Mapping[str, JSON] = dataclasses.field(default_factory=dict)
    weights: str = ""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ChainsStage(Stage[ChainsSummary]):
    """What both kinds of chains share. ``files``: files that decide them -> digests. ``terms``: what their card says."""

    kind = "chains"
    summary = ChainsSummary

    problems: ProblemsStage
    files: Mapping[str, str]
    terms: Corpus = unkeyed(factory=Corpus)

    def stream(self, context: Context) -> Iterator[Chain]:
        """Yield the chains, by problem and path; few are in memory at once."""
        return read_rows(self.directory(context.run) / FILE, Chain)

    def write(
        self, context: Context, chains: Spool, sampling: Mapping[str, JSON], sources: Sequence[str] = (), **fields: Any
    ) -> ChainsSummary:
        """Write ``chains.parquet`` with its card. ``fields``: further fields of the summary. ``sources``: files whose cards give
        the terms if the study gives none."""
        terms, licence = inherit_terms(map(Path, sources), self.terms.terms, self.terms.licence)
        card = make_card(chains, CorpusCard(terms, licence, sources=name_sources(self.files), sampling=dict(sampling)))
        write_rows(self.directory(context.run) / FILE, Chain, chains, card=dataclasses.asdict(card))
        versions, corpus = Counter[str](), ""
        for chain in chains:
            versions.update(filter(None, [chain.sampling.get("version")]))
            corpus = digest([corpus, chain.id])
        return ChainsSummary(
            chains=card.chains,
            versions=dict(versions.most_common(5)) if len(versions) > 1 else {},
            problems=card.problems,
            teachers=tuple(sorted(card.teachers)),
            corpus=corpus,
            **fields,
        )


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RecordedChainsStage(ChainsStage):
    """Chains that already exist. Those of other splits are left out and counted, never used."""

    engine: Recorded

    def run(self, context: Context) -> ChainsSummary:
        chains, report = self.engine.read({problem.id: problem for problem in self.problems.read(context)})
        return self.write(context, chains, {}, self.engine.chains, imported=report.to_json())


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SampledChainsStage(ChainsStage):
    """Chains that a teacher writes. ``engine``: the options of its engine; ``prompts``: name -> text of its method's prompts.
    ``right_by``: the check that tells an allocation which chains are right; ``check``: the one that judges the first replies.
    Unless ``needed``, nobody is asked, and there are no chains."""

    teacher: Teacher
    engine: EngineOptions
    method: Method
    prompts: Mapping[str, str]
    exemplars: Exemplars
    seed: int
    right_by: str | None
    needed: bool = unkeyed(True)
    check: str = unkeyed("answer")

    def modules(self) -> list[str]:
        right_by = [] if self.right_by is None else [find_module("check", self.right_by)]
        return [find_module("engine", self.teacher.engine), find_module("method", self.teacher.method), *right_by]

    def libraries(self) -> tuple[str, ...]:
        return self.engine.libraries

    pays = True

    @property
    def device(self) -> SettledDevice:
        return settle_device(self.engine.device)

    def is_final(self, summary: ChainsSummary) -> bool:
        return not self.needed or (summary.chains > 0 and not (self.engine.paid and (summary.errors or summary.unasked)))

    def run(self, context: Context) -> ChainsSummary:
        if not self.needed:
            return self.write(context, Spool(), {})
        sampled, _ = self.sample(self.sampling(self.problems.read(context)), context.ledger, context.progress)
        write_json(self.directory(context.run) / ERRORS, [dataclasses.asdict(error) for error in sampled.failures])
        failed, unasked, stopped = len(sampled.failures), sampled.unasked, sampled.stopped
        weights = describe_weights(self.engine.checkpoint)
        sampling = self._describe_sampling() | ({"weights": weights} if weights else {})
        return self.write(context, sampled.chains, sampling, errors=failed, unasked=unasked, stopped=stopped, weights=weights)

    def sampling(self, problems: Sequence[Problem]) -> Sampling:
        """Describe which chains to ask the teacher for, for the training problems among ``problems``."""
        pool, check = make_pool(problems, self.exemplars, prompts=self.prompts), find("check", self.check)
        return Sampling(
            [problem for problem in problems if problem.split == "train"],
            lambda problem, path: self.method.sample(problem, path, pool),
            lambda problem, chain: judge(problem, chain, check, self.check),
            samples=self.teacher.samples,
            greedy=self.teacher.greedy,
            allocation=self.teacher.allocation,
            decoding=Decoding(self.teacher.temperature, self.teacher.top_p),
            seed=self.seed,
            first_look=self.teacher.first_look,
            rationales=getattr(self.method, "writes_rationales", True),
        )

    def sample(self, sampling: Sampling, ledger: Path, report: Progress, *, trial: bool = False) -> tuple[Sample, Capabilities]:
        """Sample the chains; return them and the capabilities of each address of an endpoint. ``trial`` as for `Account`."""
        teacher, engine = self.teacher, self.engine.open(task=self.problems.task, seed=self.seed)
        opened = Ledger(ledger, price=teacher.price, budget=teacher.budget)
        with opened as store, Account(store, sampling.total, trial=trial) as account:
            paths = teacher.samples if teacher.temperature else 1
            engine, endpoints = connect(engine, store, seed=self.seed, paths=paths, report=report)
            account.begin()
            return sample(sampling, engine, account, report), endpoints

    def _describe_sampling(self) -> dict[str, JSON]:
        """Describe, for the corpus's card, how the teacher was asked: never at which address or with whose key."""
        names = ("engine", "samples", *(("greedy",) if self.teacher.greedy else ()), "temperature", "top_p", "method")
        options = {name: getattr(self.teacher, name) for name in names}
        allocation = self.teacher.allocation and dataclasses.asdict(self.teacher.allocation)
        return {**options, "allocation": allocation, "options": dict(self.teacher.options), **self.engine.describe()}
