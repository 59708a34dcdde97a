"""`Prototypes`: what the registry's classes are compared by: from sheets, and from photographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model import photographs
from model.bundle import Bundle
from model.runtime.base import F32, F64, Backend
from service.registry.records import ClassRecord, ClassSummary, PhotographsMean

CHUNK = 1024


@dataclass(frozen=True)
class Prototypes:
    """Of one bundle's network.

    Attributes:
        network: (C, A) -> (C, D), called with at most `CHUNK` rows.
        mean_of: photographs as they are stored -> (D,), the unit mean of their embeddings.
        bundle: its sha256: means that another one made are not used.
        sheet_counts: see `model.photographs`.
    """

    network: Callable[[F32], F32]
    mean_of: Callable[[Sequence[bytes]], F32]
    bundle: str = ""
    sheet_counts: float = photographs.SHEET_COUNTS

    def of_sheets(self, sheets: Sequence[F64]) -> list[F32]:
        """Sheets (A,) -> prototypes (D,)."""
        rows: list[F32] = []
        for start in range(0, len(sheets), CHUNK):
            chunk = np.stack(sheets[start : start + CHUNK]).astype(np.float32)
            prototypes = self.network(chunk)
            if len(prototypes) != len(chunk) or not np.isfinite(prototypes).all():
                raise RuntimeError(f"{len(chunk)} sheets gave no {len(chunk)} finite prototypes")
            rows.extend(prototypes)
        return rows

    def is_foreign(self, record: ClassRecord) -> bool:
        """Whether the mean of a class's photographs is another network's."""
        return record.mean is not None and record.mean.bundle != self.bundle

    def mean_again(self, stored: Sequence[bytes]) -> PhotographsMean | None:
        """Of a class's photographs; None where they are gone."""
        return PhotographsMean(self.mean_of(stored), self.bundle) if stored else None

    def with_photographs(self, record: ClassRecord, row: F32) -> tuple[ClassSummary, F32]:
        """A class and its sheet's prototype (D,) -> both as they are with its photographs.

        Args:
            record: its mean is not foreign.
        """
        if record.mean is None:
            return record.summary, row
        share = self._share(record)
        summary = replace(record.summary, photographs_share=share)
        return summary, photographs.blended(row, record.mean.vector, share)

    def of_other_sheets(self, record: ClassRecord) -> Callable[[F32], F32]:
        """What a class would be compared by under other sheets: (C, A) -> (C, D).

        Args:
            record: its mean is not foreign.
        """
        if record.mean is None:
            return self.network
        mean, share = record.mean.vector, self._share(record)
        return lambda sheets: photographs.blended(self.network(sheets), mean, share)

    def _share(self, record: ClassRecord) -> float:
        return photographs.familiarity(record.summary.examples, self.sheet_counts)


def prototypes_of(bundle: Bundle, backend: Backend) -> Prototypes:
    """What a bundle's network makes, by this backend."""
    size = bundle.manifest.input_size

    def mean_of(stored: Sequence[bytes]) -> F32:
        return photographs.mean_of(backend.embed(photographs.decoded(stored, size)).embedding)

    sheet_counts = bundle.manifest.calibration.get("sheet_counts", photographs.SHEET_COUNTS)
    return Prototypes(backend.prototypes, mean_of, bundle.sha256, float(sheet_counts))
