"""The keys of [teacher] for ``engine = "transformers"``: a model on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from understudy.engines.local.checkpoint import files_of, open_checkpoint

if TYPE_CHECKING:
    from understudy.engines.local.engine import TransformersEngine


@dataclass(frozen=True)
class Transformers:
    """A checkpoint on this machine, asked in batches by our own decoding loop (docs/decoding.md)."""

    checkpoint: Annotated[str, Field(min_length=1)]
    """The model's directory, or a model of the Hugging Face hub."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Of its weights and arithmetic."""

    can: ClassVar[frozenset[str]] = frozenset({"beams", "calculator"})
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")

    def prepare(self, root: Path, *, chats: bool) -> Transformers:
        """The options with the checkpoint as a directory that was looked at. Raises CheckpointError where it cannot be used."""
        return replace(self, checkpoint=str(open_checkpoint(self.checkpoint, root, chats=chats)))

    def files(self) -> list[Path]:
        """What decides its replies."""
        return files_of(Path(self.checkpoint))

    def open(self, *, task: Any, seed: int) -> TransformersEngine:  # noqa: ARG002 - as the protocol has it
        """The engine; weights are loaded at the first request."""
        from understudy.engines.local.engine import TransformersEngine

        return TransformersEngine(Path(self.checkpoint), dtype=self.precision, seed=seed)
