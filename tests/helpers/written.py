"""The text of an extension, as a user writes it in a file of their own."""

RAMP = """from dataclasses import dataclass
from anytime_core.extend import Progress, Weighting, register

@register("ramp")
@dataclass(frozen=True, kw_only=True)
class Ramp(Weighting):
    power: float = 1.0

    def weights(self, costs, progress: Progress):
        return [(0.01 + progress.fraction * cost) ** self.power for cost in costs]
"""
