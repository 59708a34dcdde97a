"""`Prototypes`: what the registry's classes are compared by: from sheets, and from photographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model import photographs
from model.runtime.base import F32, F64
from service.registry.records import ClassRecord, ClassSummary

CHUNK = 1024


@dataclass(frozen=True)
class Prototypes:
    """Of one bundle's network. Its methods are called in the registry's own thread.

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

    def with_photographs(
        self, record: ClassRecord, row: F32, stored: Callable[[str], Sequence[bytes]]
    ) -> tuple[ClassSummary, F32]:
        """A class and its sheet's prototype (D,) -> both as they are with its photographs.

        Args:
            stored: id -> a class's photographs.
        """
        mean = self.photographs_mean(record, stored)
        if mean is None:
            return record.summary, row
        share = photographs.familiarity(record.summary.examples, self.sheet_counts)
        summary = replace(record.summary, photographs_share=share)
        return summary, photographs.blended(row, mean, share)

    def photographs_mean(
        self, record: ClassRecord, stored: Callable[[str], Sequence[bytes]]
    ) -> F32 | None:
        """(D,), None of a class without photographs."""
        if record.mean is None:
            return None
        if record.mean.bundle == self.bundle:
            return record.mean.vector
        again = stored(record.summary.class_id)
        return self.mean_of(again) if again else None
