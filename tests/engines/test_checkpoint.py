"""A checkpoint is looked at as files: what is wrong with it is said before anything is loaded, asked or trained."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import make
from hub import serving

from understudy.core.errors import CheckpointError, DataError
from understudy.engines.local.checkpoint import PATTERNS, check_checkpoint, count_weights, find_checkpoint, hash_files, read_context

SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make("llama", tmp_path_factory.mktemp("llama"))


def change(directory, name, **changes):
    body = json.loads((directory / name).read_text())
    (directory / name).write_text(json.dumps(body | changes))


def cut(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def pointer(directory):
    (directory / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")


def indexed(directory):
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))


def without_tokenizer(directory):
    for path in directory.glob("tokenizer*"):
        path.unlink()


def pieces_alone(directory):
    without_tokenizer(directory)
    (directory / "spiece.model").write_bytes(b"pieces")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "no such directory"),
        (lambda d: (d / "config.json").unlink(), r"no config\.json"),
        (lambda d: (d / "config.json").write_text("{"), "config.json: .*JSON object"),
        (lambda d: change(d, "config.json", model_type="colour"), "config.json: .*model_type 'colour'"),
        (lambda d: change(d, "config.json", model_type="vit"), "config.json: .*model_type 'vit'"),
        (pickled, "only safetensors are read"),
        (lambda d: (d / "model.safetensors").unlink(), "has no weights"),
        (cut, "model.safetensors: .*bytes"),
        (pointer, "git lfs pull"),
        (indexed, "model-00001-of-00002.safetensors"),
        (lambda d: (d / "model.safetensors.index.json").write_text("{"), r"index\.json: .*JSON"),
        (without_tokenizer, "no tokenizer"),
        (lambda d: (d / "tokenizer.json").write_text("[]"), "not a tokenizer"),
        (lambda d: change(d, "config.json", vocab_size=20), "only 20 embeddings; they do not belong together"),
    ],
)
def test_what_is_no_checkpoint_is_named_with_what_to_do(good, tmp_path, spoil, says):
    directory = tmp_path / "copy"
    shutil.copytree(good, directory)
    check_checkpoint(directory)
    spoil(directory)
    with pytest.raises((CheckpointError, DataError), match=says):
        check_checkpoint(directory)


@pytest.mark.parametrize("lacks", ["sentencepiece", "google", "google.protobuf"])
def test_a_file_of_sentence_pieces_alone_needs_two_packages(good, tmp_path, lacks, monkeypatch):
    directory = tmp_path / "copy"
    shutil.copytree(good, directory)
    pieces_alone(directory)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == lacks else name)
    with pytest.raises(CheckpointError, match=r"only tokenizer file is spiece\.model: pip install sentencepiece protobuf"):
        check_checkpoint(directory)


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"n_positions": 64}, 64),
        ({"n_positions": 64, "is_encoder_decoder": True}, None),
        ({"max_position_embeddings": 64, "sliding_window": 16, "layer_types": None}, 16),
        ({"max_position_embeddings": 64, "sliding_window": None}, 64),
        ({"max_position_embeddings": 64, "sliding_window": 16, "use_sliding_window": False}, 64),
        ({"max_position_embeddings": 64, "sliding_window": 16, "layer_types": ["full_attention"]}, 64),
        ({"max_position_embeddings": 64, "sliding_window": 16, "layer_types": ["full_attention", "sliding_attention"]}, 16),
        ({"max_position_embeddings": 64, "attention_chunk_size": 32}, 32),
        ({"max_position_embeddings": 64, "rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 16}, 16),
        ({"max_position_embeddings": 64, "rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 16}}, 16),
        ({"max_position_embeddings": 64, "rope_parameters": {"rope_type": "yarn", "original_max_position_embeddings": 16}}, 64),
    ],
)
def test_what_changes_beyond_a_position_is_limited_to_it(config, positions):
    assert read_context(config) == positions


def test_looking_imports_no_model_library(good):
    code = "import sys; from pathlib import Path; from understudy.engines.local.checkpoint import check_checkpoint; "
    code += f"check_checkpoint(Path({str(good)!r}))"
    code += "; assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(SOURCE)})


def test_the_heads_of_the_files_tell_every_weight_and_its_size(good):
    from safetensors.torch import load_file

    assert count_weights(good) == {name: t.numel() for name, t in load_file(good / "model.safetensors").items()}


@pytest.fixture
def cache(good, tmp_path, monkeypatch):
    """A Hugging Face cache with one model in it, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = tmp_path / "hub" / "models--acme--tiny-llama"
    snapshot, commit = model / "snapshots" / ("0" * 40), "0" * 40
    shutil.copytree(good, snapshot)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    return snapshot


def test_a_name_that_is_no_directory_is_a_model_of_the_hub_taken_from_the_cache(cache, good, tmp_path):
    assert find_checkpoint("acme/tiny-llama", tmp_path).resolve() == cache.resolve()
    assert hash_files(find_checkpoint("acme/tiny-llama", tmp_path), "float32") == hash_files(good, "float32")


def test_a_directory_comes_before_a_model_of_the_same_name(cache, tmp_path):
    (tmp_path / "acme" / "tiny-llama").mkdir(parents=True)
    assert find_checkpoint("acme/tiny-llama", tmp_path) == tmp_path / "acme" / "tiny-llama"


def test_a_model_that_is_neither_here_nor_reachable_is_one_message(cache, tmp_path):
    with pytest.raises(CheckpointError, match=r"'acme/other': .*other; .* hf download acme/other"):
        find_checkpoint("acme/other", tmp_path)
    (cache / "model.safetensors").rename(cache / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="only safetensors are read"):
        find_checkpoint("acme/tiny-llama", tmp_path)


def test_a_model_is_fetched_once_and_never_its_pickles_or_code(good, tmp_path):
    shutil.copytree(good, tmp_path / "model")
    for name in ("pytorch_model.bin", "modeling_x.py", "training_args.bin"):
        (tmp_path / "model" / name).write_text("never")
    code = "from understudy.engines.local.checkpoint import find_checkpoint, check_checkpoint; from pathlib import Path"
    code += "; d = find_checkpoint('acme/tiny', Path()); check_checkpoint(d); print(*sorted(p.name for p in d.iterdir()))"
    with serving("acme/tiny", tmp_path / "model") as (address, asked):
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "hub"), "PYTHONPATH": str(SOURCE)}
        environment |= {"NO_PROXY": "*", "no_proxy": "*", "HF_HUB_OFFLINE": "0"}

        def fetch():
            ran = subprocess.run(
                [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, ran.stderr
            return ran.stdout.split()

        assert fetch() == sorted(path.name for path in good.iterdir())
        assert asked and not [path for path in asked if ".bin" in path or ".py" in path]
        asked.clear()
        assert fetch() and not asked, "the second time from the cache"


def test_only_weights_config_and_tokenizer_are_ever_fetched():
    from fnmatch import fnmatch

    for name in ("pytorch_model.bin", "model.pt", "modeling_x.py", "training_args.bin", "optimizer.pt", "README.md", "tf_model.h5"):
        assert not any(fnmatch(name, pattern) for pattern in PATTERNS), name
    for name in ("model-00001-of-00002.safetensors", "tokenizer.json", "vocab.json", "spiece.model", "chat_template.jinja"):
        assert any(fnmatch(name, pattern) for pattern in PATTERNS), name
