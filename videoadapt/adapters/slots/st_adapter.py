"""ST-Adapter: a bottleneck in which neighbouring frames meet."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videoadapt.adapters.common import Size, scaled, start_at_zero
from videoadapt.layout import Layout


class STAdapter(nn.Module):
    """``STAdapter(x) = scale * W_up conv_t( W_down x )`` on the patch tokens (ST-Adapter, eq. 4).

    ``conv_t`` is depthwise along the frames, (kernel 1 1) of a 3D convolution. Its places are ``space_in`` and
    ``mlp_in``, before attention and MLP. Class, register and prompt tokens pass unchanged. The convolution and the
    biases start at zero, as in the authors' code.

    Args:
        dim: width D of the tokens.
        width: of the bottleneck, 384 in the paper.
        kernel: frames that meet, odd.
    """

    needs_layout = True
    mixes_frames = True

    def __init__(self, dim: int, *, width: Size = 384, kernel: Size = 3, scale: float = 1.0) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} must be odd, to stay centred on a frame")
        self.down, self.up, self.scale = nn.Linear(dim, width), nn.Linear(width, dim), scale
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)
        start_at_zero(self.conv)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        patches = self.down(x[:, layout.prefix :])
        series = self.conv(rearrange(patches, "(b t) n d -> (b n) d t", t=layout.t))
        delta = scaled(self.scale, self.up(rearrange(series, "(b n) d t -> (b t) n d", n=patches.shape[1])))
        return F.pad(delta, (0, 0, layout.prefix, 0))
