"""Where a model runs and in which precision. What "auto" means on this machine is resolved when a study is planned.

torch is imported only if the system shows a GPU.

bfloat16 is fast with matrix units for it: a GPU's, or Intel's AMX. With AVX-512's bfloat16 instructions alone it is slower than
float32, and without either it is many times slower (docs/training.md has the measurement). On ARM torch's batched products are
slow in bfloat16, whatever the processor has: https://github.com/pytorch/pytorch/issues/151934.
"""

import os
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from understudy.core.errors import StudyError

Device = Literal["auto", "cpu", "cuda", "mps"]
SettledDevice = Literal["cpu", "cuda", "mps"]
"""``cuda``: the first GPU that the process sees, NVIDIA's or AMD's; CUDA_VISIBLE_DEVICES says which that is. ``mps``: Apple's."""

Precision = Literal["float32", "bfloat16"]

_NODES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""The device files of a GPU on Linux: NVIDIA's, AMD's, and that of the Windows Subsystem for Linux."""


def settle_device(device: Device, key: str = "device") -> SettledDevice:
    """Resolve ``device``, the value of the study's ``key``, on this machine. Raises StudyError if the named one is not there."""
    if device == "cpu":
        return "cpu"
    gpu = _find_gpu()
    if device not in ("auto", gpu):
        reason = f"this machine's device is {gpu!r}" if gpu else "torch sees no GPU on this machine"
        raise StudyError(f'{key} = {device!r}: {reason}; set it to "auto" or "cpu", or install a torch built for it')
    return gpu or "cpu"


@cache
def _find_gpu() -> SettledDevice | None:
    possible = sys.platform in ("darwin", "win32") or any(map(os.path.exists, _NODES))
    if not possible or find_spec("torch") is None:
        return None
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else None


def list_gpus() -> list[str]:
    """List the GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [name for name in visible.split(",") if name] or [str(i) for i in range(torch.cuda.device_count())]


def settle_precision(precision: Precision | Literal["auto"], device: SettledDevice = "cpu", root: Path = Path("/")) -> Precision:
    """Resolve ``precision`` for this machine's ``device``; only "auto" depends on them."""
    if precision != "auto":
        return precision
    if device != "cpu":
        import torch

        # Whether the GPU has units of its own for bfloat16 matrices: NVIDIA's since Ampere.
        return "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # With the name of a lesser instruction set, torch's matrix library does not use AMX (oneDNN's page "CPU Dispatcher Control").
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    is_limited = limit.startswith(("SSE", "AVX")) and "AMX" not in limit
    return "bfloat16" if "amx_bf16" in _read_cpu_flags(root) and not is_limited else "float32"


def _read_cpu_flags(root: Path) -> list[str]:
    """Read the flags of the first core, as Linux lists them; [] on other systems and on processors other than x86."""
    with suppress(OSError), (root / "proc/cpuinfo").open(encoding="utf-8") as lines:
        return next((line.split() for line in lines if line.startswith("flags")), [])
    return []
