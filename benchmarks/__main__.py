"""``python -m benchmarks [NAME ...]``: run the named benchmarks, by default all, on an otherwise idle machine."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = (
    "main_job",
    "kills",
    "parity",
    "whitening",
    "coverage",
    "base_install",
    "fresh_clone",
    "grid",
    "cifar10",
    "compiled",
    "training_speed",
    "tune_studies",
    "tail_speed",
    "climb",
    "climb_kills",
    "tail_choices",
    "whole_choices",
    "distillation",
    "decisions",
    "cross_fitting",
    "unknowns",
    "unknown_scores",
    "products",
    "twins",
    "labels",
    "audit",
    "serve",
    "fuzz",
    "web_export",
    "learn",
    "review_kills",
    "spot_checks",
)

if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        print(f"\n== {name}")
        import_module(f"benchmarks.{name}").main()
