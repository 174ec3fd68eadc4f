"""From a folder of labelled product photos to one small, accurate, calibrated model file.

>>> import kramar
>>> run = kramar.train("photos/")                              # doctest: +SKIP
>>> kramar.load("model.onnx").classify(["new.jpg"])            # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from kramar.version import __version__

if TYPE_CHECKING:
    from kramar.errors import (
        DataError,
        ExportError,
        FailedError,
        InputError,
        KramarError,
        MissingExtra,
        ModelFileError,
        OutputError,
        PhotoError,
        ReviewError,
        RunFolderError,
    )
    from kramar.jobs.audit import Audit, audit
    from kramar.jobs.benchmark import Benchmark, benchmark
    from kramar.jobs.classify import classify
    from kramar.jobs.compare import Grid, compare
    from kramar.jobs.decide import Decision, decide
    from kramar.jobs.distill import Distillation, distill
    from kramar.jobs.evaluate import Evaluation, Evaluations, evaluate
    from kramar.jobs.export import Export, export
    from kramar.jobs.learn import learn
    from kramar.jobs.learnings import Learning
    from kramar.jobs.load import load
    from kramar.jobs.review import review
    from kramar.jobs.run import Run
    from kramar.jobs.serve import serve
    from kramar.jobs.train import train
    from kramar.jobs.tune import Tuning, tune
    from kramar.jobs.weights import weights_fetch, weights_list, weights_verify
    from kramar.records import Estimate, Metrics, Prediction
    from kramar.runtime.model import Model

# Looked up when first used (PEP 562), so that `import kramar` costs milliseconds and needs no training library.
_HOMES = {
    **dict.fromkeys(
        (
            "DataError",
            "ExportError",
            "FailedError",
            "InputError",
            "KramarError",
            "MissingExtra",
            "ModelFileError",
            "OutputError",
            "PhotoError",
            "ReviewError",
            "RunFolderError",
        ),
        "kramar.errors",
    ),
    "Audit": "kramar.jobs.audit",
    "Benchmark": "kramar.jobs.benchmark",
    "Decision": "kramar.jobs.decide",
    "Distillation": "kramar.jobs.distill",
    "Estimate": "kramar.records",
    "Evaluation": "kramar.jobs.evaluate",
    "Evaluations": "kramar.jobs.evaluate",
    "Export": "kramar.jobs.export",
    "Grid": "kramar.jobs.compare",
    "Learning": "kramar.jobs.learnings",
    "Metrics": "kramar.records",
    "Model": "kramar.runtime.model",
    "Prediction": "kramar.records",
    "Run": "kramar.jobs.run",
    "Tuning": "kramar.jobs.tune",
    "audit": "kramar.jobs.audit",
    "benchmark": "kramar.jobs.benchmark",
    "classify": "kramar.jobs.classify",
    "compare": "kramar.jobs.compare",
    "decide": "kramar.jobs.decide",
    "distill": "kramar.jobs.distill",
    "evaluate": "kramar.jobs.evaluate",
    "export": "kramar.jobs.export",
    "learn": "kramar.jobs.learn",
    "load": "kramar.jobs.load",
    "review": "kramar.jobs.review",
    "serve": "kramar.jobs.serve",
    "train": "kramar.jobs.train",
    "tune": "kramar.jobs.tune",
    **dict.fromkeys(("weights_fetch", "weights_list", "weights_verify"), "kramar.jobs.weights"),
}

__all__ = [
    "Audit",
    "Benchmark",
    "DataError",
    "Decision",
    "Distillation",
    "Estimate",
    "Evaluation",
    "Evaluations",
    "Export",
    "ExportError",
    "FailedError",
    "Grid",
    "InputError",
    "KramarError",
    "Learning",
    "Metrics",
    "MissingExtra",
    "Model",
    "ModelFileError",
    "OutputError",
    "PhotoError",
    "Prediction",
    "ReviewError",
    "Run",
    "RunFolderError",
    "Tuning",
    "__version__",
    "audit",
    "benchmark",
    "classify",
    "compare",
    "decide",
    "distill",
    "evaluate",
    "export",
    "learn",
    "load",
    "review",
    "serve",
    "train",
    "tune",
    "weights_fetch",
    "weights_list",
    "weights_verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'kramar' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
