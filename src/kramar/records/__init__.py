"""What the rooms hand to each other and leave behind: typed, frozen, and the same in Python and in JSON.

Keys that DESIGN promises keep their names and meaning; new ones may be added.
"""

from __future__ import annotations

from kramar.records.model_file import (
    AUTO,
    CARD_SCHEMA,
    COARSE,
    REVIEW,
    UNKNOWN,
    ClassCard,
    Decisions,
    ModelCard,
    Prediction,
    Promise,
    Ranked,
    ResizeRule,
)
from kramar.records.record import Estimate, Record, percent, writable
from kramar.records.run import (
    DataRecord,
    Epoch,
    Gain,
    HeadRecord,
    LeftOut,
    ModelRecord,
    Rung,
    RunRecord,
    SkippedRung,
    Trial,
    Verification,
)
from kramar.records.scores import (
    CalibrationBin,
    ClassScore,
    Confusion,
    CurvePoint,
    DecisionScores,
    Leakage,
    LevelScore,
    Metrics,
    Mistake,
    ProductScores,
    TreeScores,
)

__all__ = [
    "AUTO",
    "CARD_SCHEMA",
    "COARSE",
    "REVIEW",
    "UNKNOWN",
    "CalibrationBin",
    "ClassCard",
    "ClassScore",
    "Confusion",
    "CurvePoint",
    "DataRecord",
    "DecisionScores",
    "Decisions",
    "Epoch",
    "Estimate",
    "Gain",
    "HeadRecord",
    "Leakage",
    "LeftOut",
    "LevelScore",
    "Metrics",
    "Mistake",
    "ModelCard",
    "ModelRecord",
    "Prediction",
    "ProductScores",
    "Promise",
    "Ranked",
    "Record",
    "ResizeRule",
    "RunRecord",
    "Rung",
    "SkippedRung",
    "TreeScores",
    "Trial",
    "Verification",
    "percent",
    "writable",
]
