"""The keys of [teacher] for ``engine = "transformers"``: a model on this machine."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from understudy.core.options import unkeyed
from understudy.core.protocols import EngineOptions, LocalEngine
from understudy.engines.local.checkpoint import list_files, open_checkpoint
from understudy.engines.local.device import Device, settle_device, settle_precision


@dataclass(frozen=True)
class Transformers(EngineOptions):
    """A checkpoint on this machine, asked in batches by Understudy's own decoding loop (docs/decoding.md)."""

    checkpoint: Annotated[str, Field(min_length=1)] = unkeyed()
    """The model's directory, a ``.gguf`` file, a model of the Hugging Face hub, or "smollm2-135m-instruct", as for
    student.checkpoint."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """The precision of its weights and arithmetic. ``auto``: as for training.precision."""
    device: Device = "auto"
    """Where it runs: as for ``training.device``."""

    can: ClassVar[frozenset[str]] = frozenset({"beams", "calculator"})
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")

    def prepare(self, root: Path, *, chats: bool) -> Self:
        """Return the options with the path of the checked checkpoint, and the device and precision of this machine. Raises
        CheckpointError if the checkpoint cannot be used."""
        directory = open_checkpoint(self.checkpoint, root, chats=chats)
        device = settle_device(self.device, "teacher.device")
        return replace(self, checkpoint=str(directory), device=device, precision=settle_precision(self.precision, device))

    def files(self) -> list[Path]:
        """List the files that decide its replies."""
        return list_files(Path(self.checkpoint))

    def open(self, *, task: Any, seed: int) -> LocalEngine:  # noqa: ARG002 - as the protocol has it
        """Open the engine; weights are loaded at the first request."""
        from understudy.engines.local.engine import TransformersEngine

        device = settle_device(self.device, "teacher.device")
        return TransformersEngine(Path(self.checkpoint), dtype=settle_precision(self.precision, device), device=device, seed=seed)
