"""Memory: an estimate before training, steps in parts that are the same step, and advice where it runs out."""

import gc
import os
import platform
import re
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoints import FAMILIES, make
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.errors import UnderstudyError
from understudy.core.values import Example, Segment
from understudy.engines.local.memory import is_out_of_memory, measure_resident, trim_memory
from understudy.training import loop
from understudy.training.batches import collate, encode, scale_losses
from understudy.training.loop import train
from understudy.training.memory import (
    MARGIN,
    RESERVE,
    Estimate,
    describe_shape,
    estimate,
    format_size,
    measure_free_ram,
    out_of_memory,
    plan_shape,
    settle_micro_batch,
)
from understudy.training.objectives import cross_entropy
from understudy.training.optimizer import list_matrices
from understudy.training.options import Lora, StudentOptions, TrainingOptions
from understudy.training.sharing import read_once
from understudy.training.student import make_student, save_student

SMALL = {"hidden": 32, "layers": 2, "heads": 2}
SOURCE = Path(__file__).resolve().parents[2] / "src"


def examples(n=10):
    """Of unequal lengths, weights and loss groups: where a step in parts goes wrong, it goes wrong here."""
    return [
        Example(
            "student",
            (Segment(f"Q: {i} and {'x ' * i}?\nA:", 0.0), Segment(" so" * (1 + i * i % 7)), Segment(f" {i}", 0.5)),
            f"p{i}",
            weight=(1.0, 0.5, -0.1)[i % 3],
            group="long" if i in (2, 3, 7) else "main",
        )
        for i in range(n)
    ]


def texts():
    return ["".join(s.text for s in e.segments) for e in examples()]


@pytest.mark.parametrize("reduction", ["token", "example"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_in_parts_has_the_gradients_of_the_whole_step(family, reduction, tmp_path):
    student = StudentOptions(checkpoint=str(make(family, tmp_path / family)))
    model, tokenizer = make_student(student, (), seed=0)
    model.eval().double()  # without dropout, which GPT-2, OPT and T5 have
    seq2seq = model.config.is_encoder_decoder
    rows = [encode(e, tokenizer, seq2seq=seq2seq) for e in examples()]
    start, scale = model.config.decoder_start_token_id if seq2seq else None, scale_losses(rows, reduction=reduction)
    found = {}
    for n in (10, 3, 1):
        model.zero_grad()
        total = 0.0
        for begin in range(0, 10, n):
            batch = collate(rows[begin : begin + n], scale[begin : begin + n], pad=0, start=start)
            value = cross_entropy(model, batch)
            value.backward()
            total += float(value.detach())
        found[n] = total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    for n in (3, 1):
        assert found[n][0] == pytest.approx(found[10][0], rel=1e-6)
        assert (found[n][1] - found[10][1]).norm() < 1e-6 * found[10][1].norm()


def test_training_in_parts_gives_the_same_losses_but_for_rounding_and_resumes_in_the_same_parts(tmp_path):
    options = TrainingOptions(steps=8, batch_size=6, checks=1, save_every=3, precision="float32")

    def run(out, micro, **more):
        chosen = replace(options, micro_batch=micro)
        return train(examples(), student=StudentOptions(**SMALL), options=chosen, out=out, seed=2, vocabulary=texts(), **more)

    whole, parts = run(tmp_path / "whole", 0), run(tmp_path / "parts", 4)
    assert (whole.micro_batch, parts.micro_batch, parts.tokens) == (6, 4, whole.tokens)
    for (_, one), (_, other) in zip(whole.losses, parts.losses, strict=True):
        assert one == pytest.approx(other, abs=2e-4)  # Muon makes much of little: see the gradients above

    def killed(_stage, done, _total, _note=""):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "again", 4, progress=killed)
    assert run(tmp_path / "again", 4).losses == parts.losses


def test_as_many_examples_as_fit_go_through_at_once(tmp_path, monkeypatch):
    def run(out, free):
        monkeypatch.setattr(loop, "measure_free", lambda _: free)
        options = TrainingOptions(steps=1, batch_size=8, checks=1)
        return train(examples(), student=StudentOptions(**SMALL), options=options, out=out, seed=2, vocabulary=texts())

    plenty, little = run(tmp_path / "plenty", 2**40), run(tmp_path / "little", 1_200_000)
    assert (plenty.micro_batch, plenty.notes) == (8, ())
    assert 1 <= little.micro_batch < 8
    assert f"for lack of memory {little.micro_batch} examples went through the model at once, not 8" in little.notes[0]
    with pytest.raises(UnderstudyError, match=r"out of memory: .* Lower training\.micro_batch"):
        run(tmp_path / "none", 2**12)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_chains_of_one_prompt_that_fit_because_it_is_read_once_go_through_together(family, tmp_path, monkeypatch):
    question = "Q: " + "x " * 60 + "?\nA:"
    chains = [Example.of("student", question, f" so {n}", problem="p", chain=str(n)) for n in range(6)]
    student = StudentOptions(family=family, context=256, **SMALL)
    parts: list[int] = []

    def count(model, some, *arguments, **more):
        parts.append(len(some))
        return read_once(model, some, *arguments, **more)

    monkeypatch.setattr(loop, "read_once", count)

    def run(name, free, **chosen):
        parts.clear()
        monkeypatch.setattr(loop, "measure_free", lambda _: free)
        options = TrainingOptions(steps=1, batch_size=1, checks=1, chains_per_visit=6, precision="float32", **chosen)
        result = train(chains, student=student, options=options, out=tmp_path / name, seed=2, vocabulary=[question])
        return result, list(parts)

    whole, together = run("whole", 2**40)
    short, still_together = run("short", 6_000_000)
    assert whole.micro_batch == 6 > short.micro_batch > 1
    assert together == still_together == [6]
    assert short.losses == whole.losses
    assert not short.notes, "nothing came of it"
    told, in_parts = run("told", 2**40, micro_batch=4)
    assert (told.micro_batch, in_parts) == (4, [4, 2]), "an option is taken at its word"


def test_parts_that_fit_because_their_prompt_is_read_once_read_it_once_even_where_that_saves_little(tmp_path, monkeypatch):
    chains = [Example.of("student", "Q: " + "x " * 60 + "?\nA:", f" so {n}", problem="p", chain=str(n)) for n in range(6)]
    shared: list[int] = []

    def count(model, some, *arguments, **more):
        shared.append(len(some))
        return read_once(model, some, *arguments, **more)

    monkeypatch.setattr(loop, "measure_free", lambda _: 2_750_000)
    monkeypatch.setattr(loop, "read_once", count)
    monkeypatch.setattr(loop, "is_worth_sharing", lambda some, seq2seq: len(some) == 6)
    options = TrainingOptions(steps=1, batch_size=1, checks=1, chains_per_visit=6, precision="float32")
    student = StudentOptions(context=256, **SMALL)
    result = train(chains, student=student, options=options, out=tmp_path, seed=2, vocabulary=[chains[0].source])
    assert (result.micro_batch, shared) == (2, [3, 3])
    assert "for lack of memory 3 examples went through the model at once, not 6" in result.notes[0]


def test_a_step_that_did_not_fit_is_cut_into_smaller_parts_where_prompts_are_shared(tmp_path, monkeypatch):
    chains = [Example.of("student", "Q: " + "x " * 60 + "?\nA:", f" so {n}", problem="p", chain=str(n)) for n in range(6)]
    tried: list[int] = []

    def full(model, batch):
        tried.append(len(batch.targets))
        if len(batch.targets) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes")
        return cross_entropy(model, batch)

    monkeypatch.setattr(loop, "find", lambda what, name: full)
    options = TrainingOptions(steps=1, batch_size=1, checks=1, chains_per_visit=6, precision="float32")
    student = StudentOptions(context=256, **SMALL)
    result = train(chains, student=student, options=options, out=tmp_path, seed=2, vocabulary=[chains[0].source])
    assert tried[0] == 6 > tried[1], "no part is tried again that did not fit"
    assert sum(tried[1:]) == 6
    assert result.notes


def test_a_resumed_training_does_not_count_its_optimizer_twice(tmp_path, monkeypatch):
    free = 1_200_000
    monkeypatch.setattr(loop, "measure_free", lambda _: free)

    def run(out, **more):
        options = TrainingOptions(steps=4, batch_size=8, checks=1, save_every=2, optimizer="adamw")
        return train(examples(), student=StudentOptions(**SMALL), options=options, out=out, seed=2, vocabulary=texts(), **more)

    def killed(_stage, done, _total, _note=""):
        if done == 3:
            raise KeyboardInterrupt

    whole = run(tmp_path / "whole")
    assert 1 < whole.micro_batch < 8
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "again", progress=killed)
    free -= 2 * 4 * whole.parameters  # the two means of AdamW are there already
    again = run(tmp_path / "again")
    assert (again.micro_batch, again.losses) == (whole.micro_batch, whole.losses)


def test_on_a_gpu_attention_scores_are_not_kept_and_all_examples_go_at_once():
    student = StudentOptions(**SMALL)
    options = replace(TrainingOptions(precision="float32").settle(student), device="cpu")
    shape = plan_shape(student, vocabulary=1000)
    there, here = (estimate(shape, replace(options, device=device), source=500, target=500) for device in ("cuda", "cpu"))
    assert there.activations < here.activations
    sharing = replace(shape, keys=shape.width // 2)
    of = {device: estimate(sharing, replace(options, device=device), source=500, target=500) for device in ("cuda", "cpu")}
    assert of["cuda"].activations == of["cpu"].activations, "in float32 torch has no fused attention for heads that share keys"
    encoder = replace(shape, encoder=2)
    assert len({estimate(encoder, replace(options, device=d), source=50, target=50).activations for d in ("cuda", "cpu")}) == 1
    at_once = [settle_micro_batch(here, replace(options, device=device), examples=32, free=None) for device in ("cuda", "cpu")]
    assert at_once == [32, 8]


def test_what_only_refers_to_itself_is_let_go_where_memory_is_given_back():
    class Engine:
        pass

    engine = Engine()
    engine.itself = engine
    gone = weakref.ref(engine)
    gc.disable()
    try:
        del engine
        assert gone() is not None
        trim_memory()
        assert gone() is None
    finally:
        gc.enable()


def test_a_step_that_did_not_fit_is_done_again_in_smaller_parts_and_is_the_same_step(tmp_path, monkeypatch):
    def run(out, micro):
        options = TrainingOptions(steps=4, batch_size=8, checks=1, precision="float32", micro_batch=micro)
        return train(examples(), student=StudentOptions(**SMALL), options=options, out=out, seed=2, vocabulary=texts())

    expected = run(tmp_path / "two", 2)

    def full(model, batch):
        if len(batch.targets) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes")
        return cross_entropy(model, batch)

    monkeypatch.setattr(loop, "find", lambda what, name: full)
    found = run(tmp_path / "found", 0)
    assert (found.micro_batch, found.tokens, found.losses) == (2, expected.tokens, expected.losses)
    with pytest.raises(UnderstudyError, match="out of memory: training with micro_batch = 4"):
        run(tmp_path / "told", 4)


@given(st.integers(0, 10**9), st.integers(1, 64), st.integers(1, 10**8), st.integers(0, 10**8))
def test_what_is_planned_fits_into_what_is_free(free, most, activations, copy):
    found = Estimate(weights=10, gradients=10**5, optimizer=2 * 10**5, activations=activations, copy=copy)
    examples = found.max_micro_batch(free, most)
    assert 0 <= examples <= most
    if examples:
        assert found.total(examples) - found.weights <= free


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40).map(sorted), st.integers(1, 12), st.integers(1, 99), st.integers(1, 99))
def test_examples_that_share_prompts_take_no_more_than_as_many_as_are_planned_that_do_not(sources, examples, prompt, branch):
    found = Estimate(weights=0, gradients=0, optimizer=0, activations=prompt + branch, copy=0, prompt=prompt, branch=branch)
    at_once = found.max_sharing(sources, examples)
    assert min(examples, len(sources)) <= at_once <= len(sources)
    for begin in range(len(sources) - at_once + 1):
        part = sources[begin : begin + at_once]
        assert len(set(part)) * prompt + len(part) * branch <= examples * found.activations
    assert found.max_sharing(range(20), examples) == examples, "nothing is shared"
    fitting = max(n for n in range(21) if prompt + n * branch <= examples * found.activations or n <= examples)
    assert found.max_sharing([0] * 20, examples) == max(examples, -(-20 // -(-20 // fitting))), "the fewest equal parts that fit"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shape_of_every_family_is_read_from_its_config_and_its_files(family, tmp_path):
    student = StudentOptions(checkpoint=str(make(family, tmp_path / family)))
    model, tokenizer = make_student(student, (), seed=0)
    numbers = sum(p.numel() for p in model.parameters())
    matrices = sum(p.numel() for p in list_matrices(model))
    shape = describe_shape(model.config.to_dict(), parameters=numbers, trained=numbers, matrices=matrices)
    assert (shape.width, shape.layers, shape.encoder, shape.heads) == (32, 2, 2 if family == "t5" else 0, 4)
    planned = plan_shape(student, vocabulary=0)
    assert planned.parameters == pytest.approx(numbers, rel=0.01)
    assert planned.matrices == pytest.approx(matrices, rel=0.35)
    adapter = plan_shape(replace(student, lora=Lora(rank=2)), vocabulary=0)
    lora, _ = make_student(replace(student, lora=Lora(rank=2)), (), seed=0)
    assert 0.5 < adapter.trained / sum(p.numel() for p in lora.parameters() if p.requires_grad) < 2
    assert adapter.narrow == 0, "it was saved in float32"
    save_student(model.bfloat16(), tokenizer, tmp_path / "narrow")
    narrow = replace(student, checkpoint=str(tmp_path / "narrow"), lora=Lora(rank=2))
    model, _ = make_student(narrow, (), seed=0, narrow=True)
    kept = sum(p.numel() for p in model.parameters() if p.dtype == torch.bfloat16)
    planned = plan_shape(narrow, vocabulary=0)
    assert planned.narrow == pytest.approx(kept, rel=0.35)
    some = plan_shape(replace(narrow, lora=Lora(targets="q_proj")), vocabulary=0)
    assert some.narrow == 0, "how many of them is not known before the model is loaded"
    bytes_of = {
        p: estimate(planned, TrainingOptions(precision=p).settle(narrow), source=8, target=8).weights
        for p in ("float32", "bfloat16")
    }
    assert bytes_of == {"float32": 4 * planned.parameters, "bfloat16": 6 * planned.parameters - 4 * planned.narrow}
    float32 = TrainingOptions(precision="float32", device="cpu").settle(narrow)
    whole, low_rank = (estimate(each, float32, source=8, target=8).activations for each in (shape, planned))
    assert low_rank == pytest.approx(1.5 * whole, rel=0.01), "as it was measured (docs/training.md)"


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_the_size_of_a_student_from_scratch_is_known_before_it_is_made(family):
    options = StudentOptions(family=family, **SMALL)
    model, tokenizer = make_student(options, texts(), seed=0)
    planned = plan_shape(options, vocabulary=len(tokenizer))
    assert planned.parameters == pytest.approx(sum(p.numel() for p in model.parameters()), rel=0.03)
    assert planned.matrices == pytest.approx(sum(p.numel() for p in list_matrices(model)), rel=0.01)


def test_longer_examples_larger_models_and_all_weights_take_more():
    student = StudentOptions(**SMALL)
    shape = plan_shape(student, vocabulary=1000)
    options = TrainingOptions(precision="bfloat16").settle(student)
    base = estimate(shape, options, source=50, target=50)
    assert estimate(shape, options, source=50, target=100).activations > base.activations
    assert estimate(replace(shape, layers=4), options, source=50, target=50).activations > base.activations
    assert estimate(replace(shape, trained=10, matrices=0), options, source=50, target=50).gradients == 40
    assert estimate(shape, replace(options, optimizer="adamw"), source=50, target=50).optimizer > base.optimizer


def test_free_memory_is_the_least_of_the_system_and_of_every_limit_above_this_process(tmp_path):
    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert measure_free_ram(tmp_path) is None
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    assert measure_free_ram(tmp_path) == 5000 * 1024
    write("proc/self/cgroup", "0::/jobs/mine\n")
    write("sys/fs/cgroup/jobs/mine/memory.max", "max\n")
    write("sys/fs/cgroup/jobs/mine/memory.current", "100\n")
    assert measure_free_ram(tmp_path) == 5000 * 1024
    write("sys/fs/cgroup/jobs/memory.max", "4000\n")
    write("sys/fs/cgroup/jobs/memory.current", "3000\n")
    write("sys/fs/cgroup/jobs/memory.stat", "anon 5\ninactive_file 500\n")
    assert measure_free_ram(tmp_path) == 1500
    write("proc/self/cgroup", "9:memory:/old\n3:cpu:/old\n")
    write("sys/fs/cgroup/memory/old/memory.limit_in_bytes", "900\n")
    write("sys/fs/cgroup/memory/old/memory.usage_in_bytes", "1000\n")
    assert measure_free_ram(tmp_path) == 0


def test_the_ways_in_which_memory_runs_out_are_known_and_others_are_not_mistaken():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("Invalid buffer size: 12.00 GiB")), "Metal's"
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes"))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert "--workers 1" in str(out_of_memory(None, 0, None))
    assert format_size(3 * 2**29) == "1.5 GiB"


def test_after_each_step_a_training_holds_no_more_than_it_may(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(loop, "trim_memory", lambda most=0: asked.append(most) or 100)
    options = TrainingOptions(steps=3, batch_size=4, checks=1, precision="float32")
    train(examples(), student=StudentOptions(**SMALL), options=options, out=tmp_path, seed=2, vocabulary=texts())
    assert asked == [0] + 3 * [100 + RESERVE] + [0], "what the process had before is not the training's"
    large = Estimate(weights=4 * RESERVE, gradients=0, optimizer=0, activations=RESERVE, copy=0)
    assert large.memory_limit(2) == MARGIN * 6 * RESERVE


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep other things")
def test_freed_tensors_between_those_that_stay_are_given_back():
    torch.ones(31 << 20, dtype=torch.uint8)  # glibc keeps smaller ones from now on
    tensors = [torch.ones(1 << 20, dtype=torch.uint8) for _ in range(200)]
    del tensors[:-1]
    held = measure_resident()
    assert abs(trim_memory(held) - held) < 20 << 20, "no more than it may"
    assert held - trim_memory(held - (1 << 20)) > 150 << 20


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from understudy.core.errors import UnderstudyError
from understudy.core.values import Example
from understudy.training.loop import train
from understudy.training.options import StudentOptions, TrainingOptions

torch.set_num_threads(1)
made = [Example.of("student", "Q: " + "many words " * 60, " so it is" * 60, problem=str(i)) for i in range(128)]
student = StudentOptions(hidden=64, layers=2, heads=4)

def run(out, micro):
    options = TrainingOptions(steps=1, batch_size=128, checks=1, micro_batch=micro, precision="float32")
    return train(made, student=student, options=options, out=Path(sys.argv[1], out), seed=0, vocabulary=["Q: many words so it is"])

run("first", 1)  # what is loaded once
used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + 500 * 2**20,) * 2)
try:
    run("forced", 128)
except UnderstudyError as error:
    print("ERROR", error)
print("MICRO", run("found", 0).micro_batch)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS as Linux has it")
def test_out_of_memory_ends_in_advice_and_with_the_micro_batch_that_is_found_it_goes_well(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"ERROR out of memory: training with micro_batch = 128 takes about .*, and \d+ MiB were free", ran.stdout)
    assert 1 <= int(re.search(r"MICRO (\d+)", ran.stdout)[1]) < 128
