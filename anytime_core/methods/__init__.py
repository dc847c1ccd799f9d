"""The field's methods of training a network with several predictions, as parts that a sweep file names.

Each file has what one paper, or one question, needs: its equations, its defaults and where they come from. Shapes: N
images, L predictions, K classes. Weights of a step are those that the paper gives to L losses of weight 1 each, times
the mean of the base weights B; so ``normalize`` sets the scale of all methods alike.

To add one: a part in a file here, and a line below. Imports no torch: what it computes, it computes by the tensors that
it is given, so a sweep is planned without it. Importing it makes the methods known.
"""

from __future__ import annotations

from anytime_core.methods.adaloss import AdaLoss
from anytime_core.methods.averaging import Averaging
from anytime_core.methods.boosting import Boosting, BoostingAnswers
from anytime_core.methods.combining import Caching, Product
from anytime_core.methods.distillation import Byot, Distillation, Imta, PhuongLampert
from anytime_core.methods.equilibrium import Equilibrium
from anytime_core.methods.famo import Famo
from anytime_core.methods.mixed import Mixed
from anytime_core.methods.ramp import SdnRamp
from anytime_core.methods.random_weights import RandomWeights
from anytime_core.methods.scaled import Scaled
from anytime_core.methods.surgery import CAGrad, PCGrad
from anytime_core.methods.uncertainty import Uncertainty

__all__ = [
    "AdaLoss",
    "Averaging",
    "Boosting",
    "BoostingAnswers",
    "Byot",
    "CAGrad",
    "Caching",
    "Distillation",
    "Equilibrium",
    "Famo",
    "Imta",
    "Mixed",
    "PCGrad",
    "PhuongLampert",
    "Product",
    "RandomWeights",
    "Scaled",
    "SdnRamp",
    "Uncertainty",
]
