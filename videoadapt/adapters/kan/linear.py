"""Kolmogorov-Arnold layers: a learnable one-dimensional function on every edge."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.adapters.kan.kernel import kan_linear
from videoadapt.adapters.kan.splines import spline_basis
from videoadapt.precision import without_autocast


class KANLinear(nn.Module):
    """``y_q = sum_p [ w_qp silu(x_p) + s_qp sum_j c_qpj B_j(x_p) ]`` (LoKi, eq. 2-3; no bias).

    The uniform grid of ``grid_size`` cells on [-1, 1] is fixed. An edge has ``2 + grid_size + spline_order``
    parameters, ten by default. Parameter names and shapes are efficient-kan's: ``base_weight`` w (out in),
    ``spline_weight`` c (out in grid+order) and ``spline_scaler`` s (out in). Bases are always computed in fp32.
    """

    def __init__(self, in_features: int, out_features: int, grid_size: int = 5, spline_order: int = 3) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.grid_size, self.spline_order = grid_size, spline_order
        self.base_weight = nn.Parameter(torch.empty(out_features, in_features))
        self.spline_weight = nn.Parameter(torch.empty(out_features, in_features, grid_size + spline_order))
        self.spline_scaler = nn.Parameter(torch.empty(out_features, in_features))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """efficient-kan's start: edges close to silu, splines fitted to noise of 0.1 / grid_size."""
        nn.init.kaiming_uniform_(self.base_weight, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.spline_scaler, a=math.sqrt(5))
        knots = torch.linspace(-1, 1, self.grid_size + 1)
        fit = torch.linalg.pinv(spline_basis(knots, self.grid_size, self.spline_order))  # (grid+1, grid+order)
        noise = torch.empty(*self.base_weight.shape, self.grid_size + 1, device=self.base_weight.device)
        noise.uniform_(-0.05 / self.grid_size, 0.05 / self.grid_size)
        self.spline_weight.copy_(noise @ fit.to(noise.device))

    def forward(self, x: Tensor) -> Tensor:
        """(... in) to (... out), in the dtype of x."""
        if self.spline_order != 3 or torch.compiler.is_exporting():  # an exported program knows torch's operators alone
            return self.reference(x)
        if x.is_cuda and torch.is_autocast_enabled("cuda"):  # as any product would there; a norm's output is fp32
            x = x.to(torch.get_autocast_dtype("cuda"))
        parameters = self.base_weight, self.spline_weight, self.spline_scaler
        return kan_linear(x, *parameters, self.grid_size, torch.compiler.is_compiling())

    def reference(self, x: Tensor) -> Tensor:
        """The same, as the formula reads: it keeps all features for the backward pass."""
        with without_autocast(x.device.type):
            dtype = torch.promote_types(self.base_weight.dtype, torch.float32)
            u, base, spline, scaler = (
                t.to(dtype) for t in (x, self.base_weight, self.spline_weight, self.spline_scaler)
            )
            features = torch.cat([F.silu(u).unsqueeze(-2), spline_basis(u, self.grid_size, self.spline_order)], dim=-2)
            edges = torch.cat([base.unsqueeze(1), scaler.unsqueeze(1) * spline.transpose(1, 2)], dim=1)
            y = F.linear(features.flatten(-2), edges.flatten(1))  # edges are (out, 1+grid+order, in)
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, grid_size={self.grid_size}, order={self.spline_order}"
