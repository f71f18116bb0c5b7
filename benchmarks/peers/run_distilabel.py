"""distilabel: a pipeline of one TextGeneration over OpenAILLM. A batch is what is asked at once, so it is of the concurrency; its
cache (in a directory of this run's own) as it comes."""

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "DISTILABEL_LOG_LEVEL": "ERROR"}

from distilabel.models.llms import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
from workload import MAX_TOKENS, TEMPERATURE, Spec, main


def run(spec: Spec, prompts: list[str]) -> list[str]:
    with Pipeline(cache_dir=spec.work) as pipeline:
        load = LoadDataFromDicts(
            data=[{"i": i, "instruction": prompt} for i, prompt in enumerate(prompts)], batch_size=spec.concurrency
        )
        generate = TextGeneration(
            llm=OpenAILLM(
                model=spec.model,
                base_url=spec.url,
                api_key="none",
                generation_kwargs={"max_new_tokens": MAX_TOKENS, "temperature": TEMPERATURE},
            ),
            input_batch_size=spec.concurrency,
            add_raw_input=False,
            add_raw_output=False,
        )
        load >> generate
    found = pipeline.run()
    replies = [""] * len(prompts)
    for row in found["default"]["train"]:
        replies[row["i"]] = row["generation"]
    return replies


if __name__ == "__main__":
    main(run)
