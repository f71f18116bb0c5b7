"""A device that is not the processor, on a machine that has none: tensors there say "cuda", and may not be mixed with others.

    with elsewhere():
        model.to("cuda")

Arithmetic is done by the processor, so values are right; what is tested is that everything that meets is on one device. As on a
real GPU, a tensor of one element may come from the processor, and so may indices.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

THERE = torch.device("cuda:0")
MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, torch.ops.aten._copy_from.default}
INDEXING = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
}


class There(torch.Tensor):
    """A tensor of the other device; ``here`` holds its values."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> "There":
        made = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), storage_offset=here.storage_offset(), dtype=here.dtype, device=THERE
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(op, args, kwargs or {})


def dispatch(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    there = [value for value in flat if isinstance(value, There)]
    asked = kwargs.get("device")
    target = torch.device(asked) if asked is not None else None
    if there and op not in MOVES:
        indices = tree_flatten(args[1])[0] if op in INDEXING else []
        for value in flat:
            plain = isinstance(value, torch.Tensor) and not isinstance(value, There)
            if plain and value.ndim and not any(value is index for index in indices):
                raise RuntimeError(f"{op}: expected all tensors to be on one device, found one of {tuple(value.shape)} on the cpu")
    if target is not None and target.type == THERE.type:
        kwargs = kwargs | {"device": torch.device("cpu")}
    result = op(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
    stays = bool(there) if target is None else target.type == THERE.type
    if op is torch.ops.aten.copy_.default or (op is torch.ops.aten._to_copy.default and target is None):
        stays = isinstance(args[0], There)
    if not stays:
        return result
    if str(op).split("::")[-1].split(".")[0].rstrip("'").endswith("_") and isinstance(args[0], There):
        return args[0]  # in place
    return tree_map(lambda value: There(value) if isinstance(value, torch.Tensor) else value, result)


def unwrap(value: Any) -> Any:
    return value.here if isinstance(value, There) else value


class _Factories(TorchDispatchMode):
    """Tensors that are made on the other device."""

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(op, args, kwargs or {})


class _Reading(TorchFunctionMode):
    """Values that are read as Python's."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.Tensor.tolist, torch.Tensor.numpy) and isinstance(args[0], There):
            if function is torch.Tensor.numpy:
                raise TypeError("can't convert a tensor of another device to numpy")
            args = (args[0].here, *args[1:])
        return function(*args, **(kwargs or {}))


@contextmanager
def elsewhere() -> Iterator[None]:
    """Let "cuda" be such a device."""
    torch._C._ensureCUDADeviceGuardSet()  # as torch's own FakeTensorMode does
    with mock.patch("torch.cuda._lazy_init"), _Reading(), _Factories():
        yield
