"""What a training step costs in each precision and with each optimizer, on the demo's student and examples.

    python benchmarks/precision.py [--steps N]

CPU seconds of one step (median, one thread), and the loss after N steps. ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
MKL_ENABLE_INSTRUCTIONS=AVX2 in front lets a larger processor do as one that has no more than AVX2; with
ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 alone it has bfloat16 instructions but no matrix units.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from understudy.core.values import Example
from understudy.engines.local.device import settle_precision
from understudy.pipeline.run import run_study
from understudy.pipeline.stage import Context
from understudy.pipeline.stages.student import Vocabulary, collect_texts, make_examples
from understudy.sampling.pool import StudyPool
from understudy.studies.load import load_study
from understudy.studies.study import Study, build_student
from understudy.training.loop import train
from understudy.training.options import StudentOptions, TrainingOptions

ARM = "N chains, all"


def read_demo() -> Study:
    with as_file(files("understudy.studies") / "presets" / "demo.toml") as path:
        return replace(load_study(path), file="")


def prepare(study: Study) -> tuple[list[Example], StudentOptions, list[str]]:
    """The examples of the demo's longest arm, its student, and the texts that its words come from."""
    arm = next(arm for arm in study.arms if arm.name == ARM)
    method: Any = study.method(arm)
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        plan, context = run_study(study, run, until="chains"), Context(run, lambda *_: None)
        problems, chains = plan.problems.read(context), list(plan.chains.stream(context))
    learn = [problem for problem in problems if problem.split == "train"]
    pool = StudyPool(learn=learn, chains=chains, outcomes={}, seed=study.seed)
    examples = make_examples(method, "student", pool, {}, seed=study.seed)
    return (
        examples,
        build_student(study, arm, "student"),
        list(collect_texts(Vocabulary(formats=(method.format,), words=()), learn, lambda: chains)),
    )


def measure(examples: list[Example], student: StudentOptions, words: list[str], options: TrainingOptions) -> tuple[float, float]:
    """Median CPU seconds of a step, the first left out, and the loss of the last one."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        trained = train(
            examples,
            student=student,
            options=options,
            out=Path(directory),
            seed=0,
            vocabulary=words,
            progress=lambda *_: ends.append(time.process_time()),
        )
    return median(end - begin for begin, end in pairwise(ends)), trained.losses[-1][1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    examples, student, words = prepare(read_demo())
    print(f'"auto" is {settle_precision("auto")} here; torch works with {torch.backends.cpu.get_cpu_capability()}\n')
    print(f"| precision | optimizer | CPU seconds a step | loss after {steps} steps |\n|---|---|---|---|")
    for precision in ("bfloat16", "float32"):
        for optimizer in ("muon", "adamw"):
            options = TrainingOptions(steps=steps, checks=1, precision=precision, optimizer=optimizer)  # type: ignore[arg-type]
            seconds, last = measure(examples, student, words, options)
            print(f"| {precision} | {optimizer} | {seconds:.3f} | {last:.3f} |", flush=True)


if __name__ == "__main__":
    main()
