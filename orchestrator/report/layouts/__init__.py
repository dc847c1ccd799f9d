"""How the numbers of a sweep are arranged as tables."""

from orchestrator.report.layouts.registry import LAYOUTS, Layout, arrange, taken

__all__ = ["LAYOUTS", "Layout", "arrange", "taken"]
