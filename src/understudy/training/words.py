"""The tokenizer of a student from scratch: frequent words are tokens, all other words are spelled in letters.

It is lossless for any text (letters are bytes underneath), and a plain `transformers` tokenizer when saved. A word includes the
blank before it, as in GPT-2; numbers are words, too.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPLIT = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]|\n+|\s"
PAD, END = "<pad>", "<end>"


def train_words(texts: Iterable[str], *, min_count: int) -> PreTrainedTokenizerFast:
    """Make a tokenizer whose tokens are the words of ``texts`` that occur at least ``min_count`` times, and all bytes."""
    splitter = _make_splitter()
    counts = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = sorted(word for word, n in counts.items() if n >= min_count and len(word) > 1)
    # BPE without merges: a word in the vocabulary is one token (ignore_merges), and any other word stays in single bytes.
    vocabulary = {token: i for i, token in enumerate([PAD, END, *letters, *words])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False)


def count_spelled(tokenizer: Any, texts: Iterable[str]) -> int | None:
    """Count the different words of ``texts`` that a tokenizer of this kind spells in letters; None for one of another kind."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"] if tokenizer.is_fast else {}
    if model.get("type") != "BPE" or model["merges"] or not model.get("ignore_merges"):
        return None
    splitter, vocabulary = _make_splitter(), model["vocab"]
    return len({word for text in texts for word, _ in splitter.pre_tokenize_str(text)} - vocabulary.keys())


def _make_splitter() -> Any:
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"), letters])
