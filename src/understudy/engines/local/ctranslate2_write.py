"""Writes a student's weights and tokenizer for CTranslate2. The log-probabilities of what was written are compared before anybody
gets it, so a model, or a version, that CTranslate2 reads differently from transformers is refused."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import CheckpointError
from understudy.core.tokens import encode_source, encode_text
from understudy.engines.local.beams import score
from understudy.engines.local.forward import Network
from understudy.engines.local.gguf_write import ADVICE, name_tokens
from understudy.engines.local.load import find_end_tokens, load_config, load_model, load_tokenizer
from understudy.engines.local.prompts import Prompts

MODEL = "model"
PROBE = ("Q: What is 12 + 7?\nA:", " So the answer is: 19")
TOLERANCE = 1e-3
"""How far a log-probability may be off, relative to its size: float32 is off by 1e-5, Flan-T5's wrong scale by 0.1 and more."""


def write_ctranslate2(student: Path, directory: Path) -> list[str]:
    """Write the checkpoint in the directory ``student``, an adapter merged, into ``directory``: the directory `MODEL`, in float32,
    and the tokenizer's files. Returns the tokens that end its replies. Raises CheckpointError if CTranslate2 lacks its
    type of model, or gives other log-probabilities for `PROBE`."""
    if importlib.util.find_spec("ctranslate2") is None:
        raise CheckpointError(f"{directory}: writing for CTranslate2 needs ctranslate2: pip install 'understudy[ctranslate2]'")
    from ctranslate2.converters.transformers import _MODEL_LOADERS

    config, tokenizer = load_config(student), load_tokenizer(student)
    loader = _MODEL_LOADERS.get(type(config).__name__)
    if loader is None:
        raise CheckpointError(f"{student}: CTranslate2 has no models of type {config.model_type!r}; {ADVICE}")
    model = load_model(student, config, tokenizer, dtype="float32", device="cpu")
    source = encode_source(tokenizer, PROBE[0], seq2seq=config.is_encoder_decoder)
    target = [*encode_text(tokenizer, PROBE[1]), tokenizer.eos_token_id]
    prompts = Prompts(Network(model, name=str(student)))
    [expected] = score(prompts, [(tuple(source), tuple(target))], size=1)  # before the loader takes the model apart
    try:
        spec = loader.get_model_spec(model)
        if getattr(config, "scale_decoder_outputs", True) is False:  # Flan-T5: the loader reads a key that no longer says so
            spec.decoder.scale_outputs = np.float32(1)
        loader.set_config(spec.config, model, tokenizer)
        for name in ("bos_token", "unk_token"):  # CTranslate2 needs them; no text of ours becomes them
            setattr(spec.config, name, getattr(spec.config, name) or tokenizer.eos_token)
        # Its own vocabulary is too short for GPT-2 and OPT if the model has more embeddings than tokens.
        loader.set_vocabulary(spec, name_tokens(tokenizer, model.get_input_embeddings().num_embeddings))
        spec.validate()
        spec.optimize()
        (directory / MODEL).mkdir(parents=True)
        spec.save(str(directory / MODEL))
        actual = _score_written(directory / MODEL, tokenizer, source, target, seq2seq=config.is_encoder_decoder)
    except (NotImplementedError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{student}: CTranslate2 cannot run it ({' '.join(str(error).split())}); {ADVICE}") from error
    difference = np.abs(actual - expected)
    if not (difference <= TOLERANCE * (1 + np.abs(expected))).all():
        reason = f"CTranslate2's log-probabilities differ from those of transformers by up to {difference.max():.2g}"
        raise CheckpointError(f"{student}: {reason}; {ADVICE}")
    tokenizer.save_pretrained(directory)
    return list(tokenizer.convert_ids_to_tokens(sorted(find_end_tokens(model, tokenizer))))


def _score_written(path: Path, tokenizer: Any, source: list[int], target: list[int], *, seq2seq: bool) -> Any:
    """Return the log-probability of each token of ``target`` after ``source``, by CTranslate2. It adds the end token itself for a
    model with an encoder."""
    import ctranslate2

    prompt, reply = tokenizer.convert_ids_to_tokens(source), tokenizer.convert_ids_to_tokens(target)
    if seq2seq:
        scored = ctranslate2.Translator(str(path)).score_batch([prompt], [reply[:-1]])
    else:
        scored = ctranslate2.Generator(str(path)).score_batch([prompt + reply])
    return np.array(scored[0].log_probs[-len(target) :])
