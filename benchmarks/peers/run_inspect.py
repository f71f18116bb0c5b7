"""inspect_ai: one task of plain `generate`, no scorer; as many connections and samples as the concurrency; its log of samples as it
comes, but for the live view and the control socket."""

import os

os.environ["LOCAL_API_KEY"] = "none"

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import get_model
from inspect_ai.solver import generate
from workload import MAX_TOKENS, TEMPERATURE, Spec, main


def run(spec: Spec, prompts: list[str]) -> list[str]:
    task = Task(dataset=MemoryDataset([Sample(input=prompt, id=i + 1) for i, prompt in enumerate(prompts)]), solver=generate())
    (log,) = eval(
        task,
        model=get_model(f"openai-api/local/{spec.model}", base_url=spec.url),
        display="none",
        log_dir=spec.work,
        log_level="error",
        log_realtime=False,
        log_model_api=False,
        ctl_server=False,
        max_connections=spec.concurrency,
        max_samples=spec.concurrency,
        max_tokens=MAX_TOKENS,
        temperature=TEMPERATURE,
    )
    assert log.status == "success", log.error
    replies = [""] * len(prompts)
    for sample in log.samples:
        replies[sample.id - 1] = sample.output.completion
    return replies


main(run)
