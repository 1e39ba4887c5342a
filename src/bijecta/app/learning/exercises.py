"""Short exercises; the right answers are computed, not written down."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from bijecta.app.learning.folding import preimages
from bijecta.app.learning.tearing import least_bridge


@dataclass(frozen=True)
class Exercise:
    r"""A question with a number for an answer.

    Attributes:
        question: in Markdown, with formulas.
        answer: computes the number.
        hint: where to begin.
        solution: how to get there.
        tolerance: how far an answer may be from the number.
    """

    question: str
    answer: Callable[[], float]
    hint: str
    solution: str
    tolerance: float = 0.002

    def check(self, given: float) -> str:
        """Compare an answer.

        Args:
            given: the answer.

        Returns:
            "" where it is right, else what is wrong with it.

        Example:
            >>> from bijecta.app.learning.exercises import EXERCISES
            >>> EXERCISES["folds"].check(3), EXERCISES["folds"].check(1)
            ('', 'Too small.')
        """
        miss = given - self.answer()
        if abs(miss) <= self.tolerance:
            return ""
        if abs(given + self.answer()) <= self.tolerance:
            return "The size is right, the sign is not."
        return "Too large." if miss > 0 else "Too small."


def _bell(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _coupling_log_determinant() -> float:
    def coupling(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[0], x[1] * torch.exp(0.5 - x[0]) + torch.sin(7 * x[0])])

    jacobian = torch.autograd.functional.jacobian(coupling, torch.tensor([1.2, -0.3], dtype=torch.float64))
    return float(torch.linalg.slogdet(jacobian).logabsdet)


def _best_gap_without_volume() -> float:
    """Minimise over discs: from a Gaussian pulled onto a disc of radius R, a volume-preserving map makes the square."""
    radius = np.linspace(0.5, 5.0, 100_001)
    return float((math.log(2 * math.pi) + radius**2 / 4 - np.log(math.pi * radius**2)).min())


EXERCISES: Mapping[str, Exercise] = {
    "straight": Exercise(
        r"The map is $z = 2x + 1$ and the base a standard normal. What is $p(x)$ at $x = 0$?",
        lambda: 2 * _bell(1.0),
        r"Where does $x = 0$ go, and how much does the map stretch there? $p_z(0) = 0.3989$, $p_z(1) = 0.2420$.",
        r"$f(0) = 1$ and $f'(0) = 2$, so $p(0) = p_z(1) \cdot 2 = 0.2420 \cdot 2 = 0.4839$.",
    ),
    "logarithm": Exercise(
        r"Incomes x are positive, and $z = \log x$ is a standard normal. What is $p(x)$ at $x = 2$?",
        lambda: _bell(math.log(2)) / 2,
        r"$f'(x) = 1/x$, and $\log 2 = 0.693$.",
        r"$p(2) = p_z(0.693) / 2 = 0.3137 / 2 = 0.1569$: the log-normal density.",
    ),
    "triangle": Exercise(
        r"A coupling keeps $x_1$ and sets $z_2 = x_2\, e^{0.5 - x_1} + \sin(7 x_1)$. "
        r"What is $\log|\det J|$ at $x = (1.2, -0.3)$?",
        _coupling_log_determinant,
        "The matrix is triangular: only its diagonal counts.",
        r"The diagonal is $1$ and $e^{0.5 - x_1}$; the shift is off the diagonal, and $x_2$ does not enter. "
        r"So $\log|\det J| = 0.5 - 1.2 = -0.7$.",
    ),
    "units": Exercise(
        "Two columns were divided by 2 before a flow was fitted. In those units its loss is 1.5 nats per row. "
        "What is it in the units of the data?",
        lambda: 1.5 + 2 * math.log(2),
        r"Dividing is a layer of its own. What is its $\log|\det J|$?",
        r"$\log|\det J| = -2 \log 2 = -1.386$, so the log-density falls and the loss rises to "
        r"$1.5 + 1.386 = 2.886$. Losses can be compared in the same units only.",
    ),
    "folds": Exercise(
        r"How many x does $z = x - 2 \sin x$ send to $z = 0$?",
        lambda: float(len(preimages(0.0, 2.0))),
        r"Set c = 2 and z = 0 above, and count where the curve meets the line.",
        r"$x = 0$, and $\sin x = x/2$ has two more solutions at $x = \pm 1.895$: three in all. "
        r"In between, the slope $1 - 2\cos x$ is negative.",
        0.0,
    ),
    "bridge": Exercise(
        "Two modes lie apart with a gap of width 2 between them. The map from the normal base stretches by at most "
        "10. What share of its samples falls into the gap, at the very least?",
        lambda: least_bridge(2.0, 10.0),
        r"An interval of z of width 2 / 10 around 0 cannot get out of the gap. $\Phi(0.1) = 0.5398$.",
        r"$2\,\Phi(w / 2L) - 1 = 2\,\Phi(0.1) - 1 = 0.0797$: eight samples of a hundred.",
    ),
    "volume": Exercise(
        "A flow that preserves volume, but for one scale, learns a flat square. How many nats above the entropy does "
        "the best possible one stay? (This one takes a pencil.)",
        _best_gap_without_volume,
        r"The best it can do is to pull the square from a disc around the top of the bell. Choose the disc's radius R: "
        r"the loss above the entropy is $\log 2\pi + R^2/4 - \log \pi R^2$.",
        r"The derivative $R/2 - 2/R$ vanishes at $R = 2$: $\log 2\pi + 1 - \log 4\pi = 1 - \log 2 = 0.307$. "
        "Compare it with NICE in the Lab.",
        0.003,
    ),
    "bound": Exercise(
        r"A VAE reports an ELBO of $-3.1$ for a row, and its posterior q is 0.2 nats (KL) away from the true one. "
        r"What is $\log p(x)$?",
        lambda: -3.1 + 0.2,
        r"$\log p(x) = \mathrm{ELBO} + \mathrm{KL}(q \,\|\, p(z \mid x))$.",
        r"$-3.1 + 0.2 = -2.9$. Only who knows the KL can say so: a flow needs no such correction.",
    ),
}
"""By name; each is shown with the idea that it belongs to."""
