"""Steps with less work for the host: compiled blocks, or the whole pass as a CUDA graph."""

from collections.abc import Sequence

import torch
from torch import nn

from videoadapt.engine.precision import autocast

_CODES = 64  # compiled forms of one function: a block for each rate of drop-path, in training and in evaluation


def compile_blocks(blocks: Sequence[nn.Module]) -> None:
    """Let torch.compile write the code of each block, when it first runs; names and results stay as they are.

    Blocks that are alike share their code. Results are those of eager mode to rounding.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _CODES)
    for block in blocks:
        # Not dynamic: a rate of drop-path that differs from the block before would become a variable, which
        # checkpointing does not take.
        block.compile(dynamic=False)


def record_graph(model: nn.Module, clips_shape: Sequence[int], device: torch.device, precision: str) -> None:
    """Record the forward and the backward pass of clips (b c t h w) uint8 once, and play them back in every step.

    The host then begins two graphs and not some thousand kernels. From now on the model takes clips of this shape in
    training; in evaluation it runs as before. Gradients stand in memory that the next step overwrites.
    """
    clips = torch.zeros(*clips_shape, dtype=torch.uint8, device=device)
    model.train()
    # Gradients are made in the recording's stream and added up in another, on purpose; older torch does not mind.
    if mind := getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None):
        mind(False)
    with autocast(device, precision):
        torch.set_autocast_cache_enabled(False)  # weights cast before the recording would not be cast in it
        torch.cuda.make_graphed_callables(model, (clips,), allow_unused_input=True)
