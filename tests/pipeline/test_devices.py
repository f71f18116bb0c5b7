"""Where stages run: the device that "auto" means, and the GPU that each process sees."""

import os
import time

import pytest

from understudy.core.errors import StudyError
from understudy.engines.local import device
from understudy.engines.local.device import list_gpus, settle_device, settle_precision
from understudy.pipeline.executor import LocalProcesses


@pytest.fixture(autouse=True)
def _looked_for_anew():
    device._find_gpu.cache_clear()
    yield
    device._find_gpu.cache_clear()


def visible(_: int) -> str:
    time.sleep(0.3)  # so that another process takes the next
    return os.environ.get("CUDA_VISIBLE_DEVICES", "none")


def test_processes_see_one_gpu_each_in_turn():
    with LocalProcesses(3, lambda _: None, {}, ["4", "GPU-5"]) as pool:
        assert set(pool.map(visible, range(9))) == {"4", "GPU-5"}
    with LocalProcesses(1, lambda _: None, {}, ()) as pool:
        assert set(pool.map(visible, range(1))) == {os.environ.get("CUDA_VISIBLE_DEVICES", "none")}


def test_without_a_gpu_auto_is_the_processor_and_a_gpu_that_is_named_is_an_error(monkeypatch):
    monkeypatch.setattr(device, "_find_gpu", lambda: None)
    assert settle_device("auto") == settle_device("cpu") == "cpu"
    with pytest.raises(StudyError, match="device = 'cuda': torch sees no GPU on this machine"):
        settle_device("cuda")


def test_with_a_gpu_auto_is_that_one_and_another_kind_is_an_error(monkeypatch):
    monkeypatch.setattr(device, "_find_gpu", lambda: "cuda")
    assert (settle_device("auto"), settle_device("cuda"), settle_device("cpu")) == ("cuda", "cuda", "cpu")
    with pytest.raises(StudyError, match="device = 'mps': this machine's device is 'cuda'"):
        settle_device("mps")


@pytest.mark.parametrize(
    ("settled", "fast", "precision"), [("cuda", True, "bfloat16"), ("cuda", False, "float32"), ("mps", True, "float32")]
)
def test_precision_auto_follows_what_the_gpu_multiplies_fast(monkeypatch, settled, fast, precision):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *, including_emulation: fast)
    assert settle_precision("auto", settled) == precision
    assert settle_precision("bfloat16", settled) == "bfloat16"


def test_torch_is_not_asked_where_the_system_shows_no_gpu_or_torch_is_not_there(monkeypatch):
    monkeypatch.setattr(device, "_NODES", ("/nowhere",))
    monkeypatch.setattr(device.sys, "platform", "linux")
    assert device._find_gpu() is None
    device._find_gpu.cache_clear()
    monkeypatch.setattr(device, "_NODES", ("/",))
    monkeypatch.setattr(device, "find_spec", lambda _: None)
    assert device._find_gpu() is None


def test_the_gpus_are_those_that_the_user_left_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert list_gpus() == ["1", "3"]
