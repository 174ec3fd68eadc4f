"""From a run's record to one page that a shop's manager and an engineer can both read."""

from kramar.report.page import render

__all__ = ["render"]
