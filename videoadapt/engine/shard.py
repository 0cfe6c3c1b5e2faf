"""A frozen backbone that is too large for each device: every rank keeps a part of it (PyTorch's FSDP2)."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

from videoadapt.engine import distributed
from videoadapt.engine.distributed import Ranks
from videoadapt.errors import UserError

Model = TypeVar("Model", bound=nn.Module)
_METHODS = ("embed", "features", "classify")  # of a classifier, beside forward


def shard_frozen(model: Model, blocks: Iterable[nn.Module], ranks: Ranks) -> Model:
    """Move the model to the device, and of the frozen parameters of ``blocks`` only this rank's part.

    A block's parameters come together when it is their turn. What learns stays whole on every rank.
    """
    fully_shard, register = _fsdp()
    if ranks.world == 1:
        raise UserError("run.shard: one process has nobody to share the backbone with; start several with torchrun")
    trainable = {p for p in model.parameters() if p.requires_grad}
    sharded = [block for block in blocks if set(block.parameters()) - trainable]
    if not sharded:
        raise UserError("run.shard: there are no frozen parameters to share; leave it out")
    mesh = distributed.mesh(ranks)
    for block in sharded:
        kept = trainable & set(block.parameters())
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
    whole = set(model.parameters()) - {p for block in sharded for p in block.parameters() if p not in trainable}
    fully_shard(model, mesh=mesh, ignored_params=whole)  # the root, by which the blocks know of each other
    for method in _METHODS:
        register(model, method)
    return model.to(ranks.device)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """All parameters on every rank, so that ranks may call the model as often as each of them likes."""
    blocks: list[Any] = [module for module in model.modules() if hasattr(module, "reshard")]
    for block in blocks:
        block.unshard()
        block.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for block in blocks:
            block.set_reshard_after_forward(True, recurse=False)
            block.reshard()


def _fsdp() -> tuple[Callable, Callable]:
    try:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        able = "ignored_params" in inspect.signature(fully_shard).parameters
    except ImportError:
        able = False
    if not able:
        raise UserError("run.shard: needs PyTorch 2.7 or newer")
    return fully_shard, register_fsdp_forward_method
