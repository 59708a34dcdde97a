"""Where the object is in an image: positions whose features are unlike those at its border.

An object that a photograph was taken of seldom lies along the whole border; so the border's mean is
the background, and the distance from it marks what isn't. A coarse map knows what belongs to the
object, a fine one where that ends.
"""

import torch
from torch import Tensor, nn


class Foreground(nn.Module):
    """A fine map (B, C, h, w) and a coarse one (B, C', h', w') -> (B, h, w), higher where the
    object is, on no scale of its own: d' sqrt(d), d and d' the distances in both maps.

    Nothing is learned. (Measured against MIM's attribute maps, which find the part of an object
    that most attributes are read from; see docs/model.md.)

    Args:
        fine, coarse: their grids (h, w) and (h', w').
    """

    def __init__(self, fine: tuple[int, int], coarse: tuple[int, int]) -> None:
        super().__init__()
        self.grid = fine
        self.fine_border: Tensor
        self.coarse_border: Tensor
        self.enlarge: Tensor
        self.register_buffer("fine_border", _border(fine), persistent=False)
        self.register_buffer("coarse_border", _border(coarse), persistent=False)
        self.register_buffer("enlarge", _bilinear(coarse, fine), persistent=False)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        near = _squared_distances(fine, self.fine_border)
        far = _squared_distances(coarse, self.coarse_border) @ self.enlarge
        return (far * near.sqrt()).sqrt().reshape(-1, *self.grid)


def _squared_distances(feature_map: Tensor, border: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, 1, h w): from the mean of the border's features."""
    tokens = feature_map.flatten(2)
    difference = tokens - tokens @ border
    # As a product: a sum over rows is slow in ONNX Runtime.
    ones = tokens.new_ones(1, tokens.shape[1])
    return ones @ (difference * difference)


def _border(grid: tuple[int, int]) -> Tensor:
    """(h w, 1): the mean over a grid's outermost cells, as a product. All cells of a grid of two
    rows or columns are that."""
    height, width = grid
    mask = torch.ones(height, width)
    mask[1:-1, 1:-1] = 0
    return (mask / mask.sum()).flatten()[:, None]


def _bilinear(source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """(h' w', h w): one grid's values on another one, as a product."""
    cells = torch.eye(source[0] * source[1]).reshape(-1, 1, *source)
    enlarged = nn.functional.interpolate(cells, target, mode="bilinear")
    return enlarged.flatten(1)
