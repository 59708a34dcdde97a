"""ESZSL in closed form: the classical baseline, and the start of the global head.

Source: Romera-Paredes and Torr, "An embarrassingly simple approach to zero-shot learning",
ICML 2015: V = (X^T X + gamma I)^-1 X^T Y S (S^T S + lambda I)^-1.
N images, F features, C classes, A attributes, K columns.
"""

import torch
from torch import Tensor


def one_against_rest(labels: Tensor, classes: int) -> Tensor:
    """(N,) -> (N, C) of +1 for the own class and -1 for the others."""
    signs = torch.full((len(labels), classes), -1.0, dtype=torch.float64)
    signs[torch.arange(len(labels)), labels] = 1.0
    return signs


class Ridge:
    """(X^T X + ridge I)^-1 X^T T for one X and several ridges and targets.

    Works in whichever of images and features is the smaller space; each ridge's factor is kept.

    Args:
        features: (N, F), centred.
    """

    def __init__(self, features: Tensor) -> None:
        self.features = features.double()
        self.dual = len(features) < features.shape[1]
        self.gram = (
            self.features @ self.features.T if self.dual else self.features.T @ self.features
        )
        self._factors: dict[float, Tensor] = {}

    def solve(self, targets: Tensor, ridge: float) -> Tensor:
        """(N, K) -> (F, K)."""
        right = targets.double() if self.dual else self.features.T @ targets.double()
        solution = torch.cholesky_solve(right, self._factor(ridge))
        result: Tensor = self.features.T @ solution if self.dual else solution
        return result

    def _factor(self, ridge: float) -> Tensor:
        if ridge not in self._factors:
            matrix = self.gram.clone()
            matrix.diagonal().add_(ridge)
            self._factors[ridge] = torch.linalg.cholesky(matrix)
        return self._factors[ridge]


def class_side(class_rows: Tensor, ridge: float) -> Tensor:
    """S (S^T S + ridge I)^-1: (C, A) normalised attributes -> (C, A)."""
    rows = class_rows.double()
    gram = rows.T @ rows + ridge * torch.eye(rows.shape[1], dtype=torch.float64)
    result: Tensor = torch.linalg.solve(gram, rows.T).T
    return result


def eszsl(
    ridge: Ridge, labels: Tensor, class_rows: Tensor, image_ridge: float, class_ridge: float
) -> Tensor:
    """ESZSL's V: (F, A), so that an image's scores are x V s."""
    targets = one_against_rest(labels, len(class_rows)) @ class_side(class_rows, class_ridge)
    return ridge.solve(targets, image_ridge)
