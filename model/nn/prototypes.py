"""The prototype unit: sheets become prototypes in the space that images are embedded in.

A sheet (A,) on its own scale is normalised within each attribute group (the share of each value,
to a power), centred on the seen classes and scaled to unit length; a linear map takes it to the
embedding space, where it has unit length again. Groups of one attribute have no shares: their
value is taken as a fraction of its scale.

Within-group shares and the power are Hellinger-like embeddings of distributions; see
Arandjelovic and Zisserman, CVPR 2012, for the square root.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class PrototypeUnit(nn.Module):
    """`normalise`: (C, A) -> (C, A) unit rows; `forward`: (C, A) -> (C, D) unit rows.

    Args:
        groups: (A,), the number of each attribute's group.
        minimum, maximum: (A,), the scale's bounds.
        embedding_dim: D.
        exponent: the power of the shares.
    """

    def __init__(
        self,
        groups: Sequence[int],
        minimum: Tensor,
        maximum: Tensor,
        embedding_dim: int,
        exponent: float,
    ) -> None:
        super().__init__()
        self.exponent = exponent
        membership = functional.one_hot(torch.tensor(groups)).float()  # (A, groups)
        alone = membership.sum(dim=0)[list(groups)] == 1
        self.minimum: Tensor
        self.maximum: Tensor
        self.membership: Tensor
        self.alone: Tensor
        self.mean: Tensor
        self.register_buffer("minimum", minimum.float().clone())
        self.register_buffer("maximum", maximum.float().clone())
        self.register_buffer("membership", membership)
        self.register_buffer("alone", alone.float())
        self.register_buffer("mean", torch.zeros(len(groups)))
        self.project = nn.Linear(len(groups), embedding_dim, bias=False)

    def shares(self, class_attributes: Tensor) -> Tensor:
        """(C, A) sheets -> (C, A) shares to the power; a group of zeros stays zero."""
        span = (self.maximum - self.minimum).clamp_min(1e-6)
        level = ((class_attributes - self.minimum) / span).clamp(0, 1)
        total = level @ self.membership @ self.membership.T
        divisor = self.alone + (1 - self.alone) * total
        return (level / divisor.clamp_min(1e-6)).clamp_min(1e-12).pow(self.exponent)

    def normalise(self, class_attributes: Tensor) -> Tensor:
        return functional.normalize(self.shares(class_attributes) - self.mean, dim=-1)

    def forward(self, class_attributes: Tensor) -> Tensor:
        return functional.normalize(self.project(self.normalise(class_attributes)), dim=-1)

    @torch.no_grad()
    def start_from_classes(self, class_attributes: Tensor) -> None:
        """Centre on the seen classes, and project onto the principal directions they span.

        No image of a seen class says anything about directions in which the seen classes don't
        differ; leaving them out of the prototype is better than carrying them (measured).

        Args:
            class_attributes: (C, A), the seen classes' sheets.
        """
        self.mean.copy_(self.shares(class_attributes).mean(dim=0))
        rows = self.normalise(class_attributes).double()
        _, _, directions = torch.linalg.svd(rows, full_matrices=False)  # (min(C, A), A)
        count = min(len(directions), self.project.out_features)
        self.project.weight.zero_()
        self.project.weight[:count] = directions[:count].to(self.project.weight.dtype)
