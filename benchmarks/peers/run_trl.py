"""The rows of benchmarks/training.py by TRL's SFTTrainer, in an environment of its own: a file of token ids in, losses and CPU
seconds of each step but the first out. It is told all that makes it quicker here and changes nothing: no gradient checkpointing
(its default), ready token ids, nothing logged or saved elsewhere.

    python run_trl.py CHECKPOINT STEPS.json PRECISION           # [[{"input_ids": [...], "labels": [...]}, ...] of each step]
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

torch.set_num_threads(1)
checkpoint, rows, precision = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), sys.argv[3]


class Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.marks.append(time.process_time())


class Trainer(SFTTrainer):  # type: ignore[misc]
    def _get_train_sampler(self, dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(dataset if dataset is not None else self.train_dataset)


with tempfile.TemporaryDirectory() as out:
    config = SFTConfig(
        output_dir=out,
        max_steps=len(rows),
        per_device_train_batch_size=len(rows[0]),
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        bf16=precision == "bfloat16",
        use_cpu=True,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        max_length=None,
    )
    clock = Clock()
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        config,
        train_dataset=Dataset.from_list([row for step in rows for row in step]),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
        callbacks=[clock],
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    seconds = [after - before for before, after in zip(clock.marks, clock.marks[1:], strict=False)]
print(json.dumps({"losses": losses, "seconds": seconds}))
