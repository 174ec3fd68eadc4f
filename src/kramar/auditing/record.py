"""An audit's account of itself: ``run.json``."""

from __future__ import annotations

from kramar.records import DataRecord, Estimate, Leakage, Record


class AuditRecord(Record):
    """``run.json`` of an audit; the issues themselves are in ``issues.parquet``.

    Attributes:
        issues: how many there are of each kind, the gravest kind first.
        label_scores: on how many photos the labels were judged, by models that had not learnt from them; and how many
            of those labels such a model guesses. None where there are too few photos to learn from.
        leakage: of a linear layer on what a frozen network sees; null where no test photo has a copy elsewhere.
    """

    kramar: str
    command: str
    started: str
    seed: int
    machine: dict[str, str | int]
    data: DataRecord
    issues: dict[str, int]
    label_scores: Estimate | None
    leakage: Leakage | None
    seconds: dict[str, float | dict[str, float]]
    peak_memory_bytes: int
