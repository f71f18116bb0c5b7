"""What the tests of exports share: students with cards, the real pretrained model as a student's directory, hostile texts."""

import shutil

import pytest
import torch
from checkpoints import make
from safetensors.torch import load_file, save_file

from understudy.core.errors import AbsentError
from understudy.engines.local.checkpoint import find_checkpoint
from understudy.engines.local.load import load_config, load_model, load_tokenizer
from understudy.pipeline.card import Card, write_card

HOSTILE = [
    "Q: Ana has 4 coins.\n\nHow many?\nA:",
    "naïve ½ 3.5% don't  two   spaces\n\n1",
    "12,345 = 6",
    "<|im_end|> is text",
    " ",
    "日本 🙂\t.",
    "IT'S 'tis we'll (x)\r\n\n y  \n",
]


def make_disturbed(family, directory, **options):
    """As `make`, with other biases and norms than the zeros and ones of a new model, which would hide that one is lost."""
    file = make(family, directory, **options) / "model.safetensors"
    random = torch.Generator().manual_seed(1)
    weights = {name: w + 0.3 * torch.randn(w.shape, generator=random) * (w.ndim == 1) for name, w in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return directory


def write_smollm2(where):
    """The real pretrained model as a student's directory; a skip where it is not there."""
    try:
        source = find_checkpoint("smollm2-135m-instruct", where, fetch=False)
    except AbsentError as error:
        pytest.skip(str(error))
    tokenizer, config = load_tokenizer(source), load_config(source)
    load_model(source, config, tokenizer, dtype="float32", device="cpu").save_pretrained(where / "smol")
    tokenizer.save_pretrained(where / "smol")
    return where / "smol"


def student(directory, tmp_path, method="scotd", **card):
    """A copy of the checkpoint with a card."""
    shutil.copytree(directory, tmp_path / "student")
    options = card.pop("options", {"max_tokens": 24})
    card = {"terms": "none", "licence": "MIT"} | card
    write_card(tmp_path / "student", Card(method, options, "student", "number", "float32", 3, **card))
    return tmp_path / "student"


def load(directory):
    config, tokenizer = load_config(directory), load_tokenizer(directory)
    return load_model(directory, config, tokenizer, dtype="float32", device="cpu"), tokenizer
