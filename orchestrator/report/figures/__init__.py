"""What is drawn of a sweep: which figures there are, the panels of each, and how they are drawn."""

from orchestrator.report.figures.registry import FIGURES, FigureKind, caption_of, kind_of, panels, suited, taken

__all__ = ["FIGURES", "FigureKind", "caption_of", "kind_of", "panels", "suited", "taken"]
