"""A network that costs nothing."""

from __future__ import annotations

import torch


class Tiny(torch.nn.Module):
    """Finds one box of 8 x 8 pixels around (16, 16), whatever it sees."""

    task, nc, names = "detect", 1, {0: "a"}
    stride = torch.tensor([32])

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        row = torch.tensor([16.0, 16, 8, 8, 0.9]) * self.weight
        return row[None, :, None].expand(len(x), 5, 1)
