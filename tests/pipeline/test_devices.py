"""Where stages run: the device that "auto" means, and the GPU that each process sees."""

import os
import time

import pytest

from understudy.core.errors import StudyError
from understudy.engines.local import device
from understudy.engines.local.device import list_gpus, settle_device, settle_precision
from understudy.pipeline import run
from understudy.pipeline.executor import LocalProcesses, Machine
from understudy.pipeline.plan import make_plan
from understudy.pipeline.run import share_machine
from understudy.studies.load import load_study
from understudy.studies.presets import PACKAGED


@pytest.fixture(autouse=True)
def _looked_for_anew():
    device._find_gpu.cache_clear()
    yield
    device._find_gpu.cache_clear()


def visible(_: int) -> str:
    time.sleep(0.3)  # so that another process takes the next
    return os.environ.get("CUDA_VISIBLE_DEVICES", "none")


def test_processes_see_one_gpu_each_in_turn():
    with LocalProcesses(Machine(3, gpus=["4", "GPU-5"]), lambda _: None, {}) as pool:
        assert set(pool.map(visible, range(9))) == {"4", "GPU-5"}
    with LocalProcesses(Machine(1), lambda _: None, {}) as pool:
        assert set(pool.map(visible, range(1))) == {os.environ.get("CUDA_VISIBLE_DEVICES", "none")}


@pytest.mark.parametrize(("allowed", "threads"), [("", "3"), ("2", "2"), ("8", "3")])
def test_a_process_calculates_with_its_share_of_the_cores_and_no_more_threads_than_the_user_allows(monkeypatch, allowed, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    with LocalProcesses(Machine(1, threads=3), lambda _: None, {}) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == threads


def test_stages_that_run_side_by_side_share_the_cores(monkeypatch):
    monkeypatch.setattr(run, "count_cores", lambda: 16)
    stages = list(make_plan(load_study(PACKAGED / "demo.toml")).stages.values())
    assert (
        share_machine(stages, stages, 0) == share_machine(stages, stages, 16) == Machine(10, 1, [])
    )  # five arms answer two splits
    assert share_machine(stages, stages, 2) == Machine(2, 1, [])


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
