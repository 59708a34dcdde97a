"""Ranking: an embedding and a snapshot of the classes -> the best of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import scoring
from model.bundle import Manifest
from model.runtime.base import F32
from service.errors import NoCandidates
from service.registry.store import unknown_class
from service.registry.table import PrototypeTable

# Copying the rows of one class in so many, or of fewer, costs less than scoring all classes.
_FEW = 8
_NO_PROBABILITY = 110.0  # exp(-110) is 0 in float32

Scope = Literal["all", "unseen", "seen"]
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Prediction:
    class_id: str
    name: str
    score: float  # cosine / temperature, before gamma
    probability: float  # after gamma, over the candidates
    seen: bool


class Ranking(NamedTuple):
    """The best candidates; of all C of them the scores before gamma, and how much of it each pays
    (`PrototypeTable.familiarity`)."""

    predictions: list[Prediction]
    scores: F32
    familiarity: F32

    def is_known(self, manifest: Manifest, threshold: float | None = None) -> bool | None:
        """Whether even the best candidate is near enough; None where nothing says how near.

        Args:
            threshold: in units of a score after gamma; the bundle's when None.
        """
        if threshold is None:
            threshold = manifest.calibration.get("known_threshold")
        if threshold is None:
            return None
        # Under the bundle's own gamma: it is what the threshold was found with.
        scores = scoring.calibrated_stacking(self.scores, self.familiarity, manifest.gamma)
        return bool(scores.max() >= threshold)


def candidates(
    table: PrototypeTable, class_ids: Sequence[str] | None, scope: Scope
) -> Positions | None:
    """The positions that a question is about; None stands for all.

    Raises:
        UnknownClass: an id that no class has.
        NoCandidates: nothing is left.
    """
    if class_ids is None and scope == "all" and len(table):
        return None
    if class_ids is None:
        # `all` comes here of an empty table alone.
        positions = np.flatnonzero(table.is_seen == (scope == "seen"))
    else:
        found = []
        for class_id in dict.fromkeys(class_ids):
            if (position := table.find(class_id)) is None:
                raise unknown_class(class_id)
            found.append(position)
        positions = np.array(found, np.intp)
        if scope != "all":
            positions = positions[table.is_seen[positions] == (scope == "seen")]
    if not len(positions):
        among = "classes" if class_ids is None else "classes of `classes`"
        kind = "" if scope == "all" else f"{scope} "
        raise NoCandidates(
            f"there are no {kind}{among} to choose from. POST /classes registers unseen ones; "
            "scope=all asks for both"
        )
    return positions


def rank(
    embedding: F32,
    table: PrototypeTable,
    positions: Positions | None,
    temperature: float,
    gamma: float,
    top_k: int,
) -> Ranking:
    """Score one embedding (D,) against the candidates; the best `top_k` after gamma, best first."""
    logits = _logits(embedding, table, positions, temperature)
    familiarity = table.familiarity if positions is None else table.familiarity[positions]
    # Beyond this, gamma only takes digits from float32: one side has no probability left.
    limit = 2 / temperature + _NO_PROBABILITY
    calibrated = scoring.calibrated_stacking(logits, familiarity, min(max(gamma, -limit), limit))
    probabilities = scoring.softmax(calibrated)
    predictions = []
    for index in scoring.top_k(calibrated, top_k):
        item = table.at(int(index if positions is None else positions[index]))
        predictions.append(
            Prediction(
                class_id=item.class_id,
                name=item.name,
                score=float(logits[index]),
                probability=float(probabilities[index]),
                seen=item.seen,
            )
        )
    return Ranking(predictions, logits, familiarity)


def _logits(
    embedding: F32, table: PrototypeTable, positions: Positions | None, temperature: float
) -> F32:
    """(D,) -> the logits of the candidates, in their order."""
    row = embedding[None, :]
    if positions is not None and len(positions) * _FEW < len(table):
        few: F32 = scoring.cosine_logits(row, table.take(positions), temperature)[0]
        return few
    logits: F32 = table.of_classes(scoring.cosine_logits(row, table.rows, temperature)[0])
    return logits if positions is None else logits[positions]


def strongest(attributes: F32, names: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The attributes (A,) that score highest, best first."""
    return [(names[i], float(attributes[i])) for i in scoring.top_k(attributes, count)]
