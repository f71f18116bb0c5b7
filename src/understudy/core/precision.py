"""The precision "auto": bfloat16 where the processor multiplies bfloat16 matrices fast, else float32. Imports no model library,
since a plan settles it.

Fast means matrix units, Intel's AMX. AVX-512's bfloat16 instructions alone are slower than float32, and neither is many times
slower (docs/training.md has the measurement). On ARM torch's batched products are slow in bfloat16, whatever the processor has:
https://github.com/pytorch/pytorch/issues/151934.
"""

import os
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "bfloat16"]

_WITHOUT_AMX = (
    *("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16"),
    *("AVX512_CORE_FP16", "AVX10_1_512", "AVX10_2_512"),
)
"""Values of ONEDNN_MAX_CPU_ISA with which torch's matrix library leaves AMX alone, from oneDNN's page "CPU Dispatcher Control"."""


def settle_precision(precision: Precision | Literal["auto"], root: Path = Path("/")) -> Precision:
    """What ``precision`` means on this machine; only "auto" depends on it."""
    if precision != "auto":
        return precision
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return "bfloat16" if "amx_bf16" in _cpu_flags(root) and limit not in _WITHOUT_AMX else "float32"


def _cpu_flags(root: Path) -> list[str]:
    """As Linux lists them of the first core; [] on other systems, and on processors that are not of the x86 family."""
    try:
        with (root / "proc/cpuinfo").open(encoding="utf-8") as lines:
            return next((line.split() for line in lines if line.startswith("flags")), [])
    except OSError:
        return []
