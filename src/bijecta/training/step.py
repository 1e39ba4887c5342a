"""One step of training: the gradient of a loss, and what an optimiser makes of it."""

import math

import torch
from torch import Tensor, nn
from torch.optim import Adam

from bijecta.distributions import Distribution
from bijecta.flows import Flow
from bijecta.functional.kernels.adam import adam_step
from bijecta.training.averages import WeightAverage
from bijecta.training.config import OPTIMISERS
from bijecta.training.flat import FlatWeights
from bijecta.training.losses import Batch, Loss, nll


class TrainingStep:
    r"""Take one step of an optimiser after the other: what `fit` does with every batch.

    .. math:: \theta \leftarrow \theta - \eta\, u(\nabla_\theta \mathcal{L}(\theta; \text{batch}))

    While it is in use the weights of the flow lie in one piece of memory (`FlatWeights`). Where the loss is `nll` and
    the flow can (`Flow.differentiate_nll`), the gradient is added there in one native call; autograd does the others.
    Adam's step, too, is one native call (`adam_step`) where that is possible.

    A step whose gradient is not finite changes nothing. Where torch's optimiser takes it, nor does one whose loss is
    not finite, nor do the steps after it: whoever looks at the losses later, not to wait for a GPU, finds the weights
    that gave the bad one.

    Args:
        flow: what is trained, in place.
        loss: a function (flow, batch) -> scalar.
        optimiser: "adamw", "adam" or "sgd".
        learning_rate: :math:`\eta`.
        weight_decay: of the optimiser.
        gradient_clip: largest norm of the gradient; infinity for none.
        ema: decay of the moving average of the weights, ``average``; 0 for none.
        compile: have torch compile the loss, on a GPU as CUDA graphs, one for every size of a batch.

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import Batch, TrainingStep
        >>> flow, x = realnvp(2), torch.randn(100, 2)
        >>> step = TrainingStep(flow, learning_rate=1e-2)
        >>> losses = [float(step(Batch(100, x))) for _ in range(20)]
        >>> step.release()
        >>> losses[-1] < losses[0]
        True
    """

    def __init__(
        self,
        flow: Distribution,
        *,
        loss: Loss = nll,
        optimiser: str = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        gradient_clip: float = float("inf"),
        ema: float = 0.0,
        compile: bool = False,  # noqa: A002 (torch's word for it)
    ) -> None:
        self.flow, self.gradient_clip = flow, gradient_clip
        # This mode records CUDA graphs: a small flow is launched as a whole, not kernel by kernel.
        self.loss = torch.compile(loss, mode="reduce-overhead") if compile else loss
        self.weights = FlatWeights(flow)
        self.average = WeightAverage(self.weights.values, ema)
        self.optimiser = OPTIMISERS[optimiser](self.weights.values, lr=learning_rate, weight_decay=weight_decay)
        # Who listens to a parameter wants to hear of its gradient from autograd.
        self.natively = self.loss is nll and not any(map(_is_listened_to, flow.parameters()))
        self.frozen = torch.zeros((), device=self.weights.values[0].device)

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step; return the loss before it, NaN where that or its gradient was not finite."""
        return self.update(self.differentiate(batch))

    def differentiate(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch and its gradient."""
        self.weights.zero_grad()
        if self.natively and isinstance(self.flow, Flow) and batch.x is not None:
            loss = self.flow.differentiate_nll(batch.x, batch.context, batch.weight)
            if loss is not None:
                return loss
        loss = self.loss(self.flow, batch)
        loss.backward()
        return loss.detach()

    def update(self, loss: Tensor) -> Tensor:
        """Clip the gradient, take the optimiser's step and let the average follow; return the loss, or NaN."""
        norm = self._update_natively()
        if norm is not None:
            return loss if math.isfinite(norm) else torch.full_like(loss, torch.nan)
        finite = (loss + self.weights.clip(self.gradient_clip)).isfinite()
        self.frozen = torch.maximum(self.frozen, (~finite).to(self.frozen))
        # Fused optimisers look at this name: a step where it is 1 does nothing. Loss scaling of torch.amp uses it too.
        self.optimiser.found_inf = self.frozen  # type: ignore[attr-defined]
        self.optimiser.step()
        self.average.update()
        return loss.where(self.frozen == 0, torch.nan)

    def _update_natively(self) -> float | None:
        """Do the same in one native call; return the norm of the gradient, or None where that is not possible."""
        if not isinstance(self.optimiser, Adam) or len(self.weights.values) > 1:
            return None
        (average,) = self.average.average if self.average.decay else (None,)
        decay = self.average.next_decay
        norm = adam_step(self.optimiser, self.weights.values[0], average, largest=self.gradient_clip, decay=decay)
        self.average.steps += norm is not None
        return norm

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of the next steps."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def release(self) -> None:
        """End training: the weights lie where they lay before."""
        self.weights.release()


def _is_listened_to(weight: nn.Parameter) -> bool:
    return bool(weight._backward_hooks or weight._post_accumulate_grad_hooks)
