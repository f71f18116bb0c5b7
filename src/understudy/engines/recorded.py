"""The keys of [teacher] for ``engine = "recorded"``: chains that already exist."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from understudy.core.options import unkeyed
from understudy.core.protocols import Engine, EngineOptions
from understudy.core.values import Problem
from understudy.corpus.directories import list_files
from understudy.corpus.formats import check_name
from understudy.corpus.import_ import Report, import_chains
from understudy.corpus.spool import Spool


@dataclass(frozen=True)
class Recorded(EngineOptions):
    """Files of chains. Nothing is sampled, and this teacher cannot be asked."""

    chains: tuple[str, ...] = unkeyed()
    """The files, in any of the formats of docs/corpus.md; relative to the study file."""
    format: str = ""
    """The name of their format; by default it is recognised for each file."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Our field -> the rows' field, where the names differ."""
    prefer: Literal["text", "recorded"] = "text"
    """Which answer counts if the text and the row state different ones. With ``recorded`` the whole text is rationale, and the
    answer comes from the row."""

    def __post_init__(self) -> None:
        if not self.chains:
            raise ValueError("chains must be given: files of chains")
        if self.format:
            check_name(self.format)

    asks: ClassVar[bool] = False

    def open(self, *, task: Any, seed: int) -> Engine:
        raise NotImplementedError("recorded chains cannot be asked")

    def prepare(self, root: Path, *, chats: bool) -> Self:  # noqa: ARG002 - as the protocol has it
        """Return the same options with absolute paths."""
        return replace(self, chains=tuple(str((root / name).resolve()) for name in self.chains))

    def files(self) -> list[Path]:
        """List the files that are read."""
        return [file for name in self.chains for file in list_files(Path(name))]

    def read(self, problems: Mapping[str, Problem]) -> tuple[Spool, Report]:
        """Read the chains of the training problems among ``problems`` (by id), and report what became of the rows. Raises
        DataError naming file, line and field."""
        paths = [Path(name) for name in self.chains]
        return import_chains(paths, problems=problems, fields=self.fields, prefer=self.prefer, format=self.format, split="train")
