"""One step of training: the gradient of a loss, and what an optimiser makes of it."""

import torch
from torch import Tensor, nn

from bijecta.bijections import Chain
from bijecta.distributions import Distribution
from bijecta.training.config import OPTIMISERS
from bijecta.training.flat import FlatWeights
from bijecta.training.losses import Batch, Loss, nll


class TrainingStep:
    r"""Take one step of an optimiser after the other: what `fit` does with every batch.

    .. math:: \theta \leftarrow \theta - \eta\, u(\nabla_\theta \mathcal{L}(\theta; \text{batch}))

    While it is in use the weights of the flow lie in one piece of memory (`FlatWeights`), and chains that run natively
    add their gradients there without a graph of single parameters.

    Args:
        flow: what is trained, in place.
        loss: a function (flow, batch) -> scalar.
        optimiser: "adamw", "adam" or "sgd".
        learning_rate: :math:`\eta`.
        weight_decay: of the optimiser.
        gradient_clip: largest norm of the gradient; infinity for none.

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
    ) -> None:
        self.flow, self.loss, self.gradient_clip = flow, loss, gradient_clip
        self.weights = FlatWeights(flow)
        self.optimiser = OPTIMISERS[optimiser](self.weights.values, lr=learning_rate, weight_decay=weight_decay)
        # Other losses may differentiate for themselves, by x for example; only of this one is it known that every
        # backward pass is one of training. Who listens to a parameter wants to hear of its gradient.
        chains = [module for module in flow.modules() if isinstance(module, Chain) and loss is nll]
        self.chains = [chain for chain in chains if not any(map(_is_listened_to, chain.parameters()))]
        self.anchor = torch.zeros((), requires_grad=True)
        self.frozen = torch.zeros((), device=self.weights.values[0].device)

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step; return the loss before it."""
        loss = self.differentiate(batch)
        if self.gradient_clip < float("inf"):
            self.clip()
        self.optimiser.step()
        return loss

    def differentiate(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch and its gradient."""
        self.weights.zero_grad()
        try:
            self._anchor_chains(self.anchor)
            loss = self.loss(self.flow, batch)
            loss.backward()
        finally:
            self._anchor_chains(None)
        return loss.detach()

    def clip(self) -> Tensor:
        """Shorten the gradient to the largest norm allowed; return its norm before."""
        return torch.nn.utils.clip_grad_norm_(self.weights.values, self.gradient_clip)

    def freeze_unless(self, finite: Tensor) -> None:
        """Let no step from now on change the weights if ``finite`` is false; the device decides, and nobody waits."""
        self.frozen = torch.maximum(self.frozen, (~finite).to(self.frozen))
        # Fused optimisers look at this name: a step where it is 1 does nothing. Loss scaling of torch.amp uses it too.
        self.optimiser.found_inf = self.frozen  # type: ignore[attr-defined]

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of the next steps."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def release(self) -> None:
        """End training: the weights lie where they lay before."""
        self.weights.release()

    def _anchor_chains(self, anchor: Tensor | None) -> None:
        for chain in self.chains:
            chain.native.anchor = anchor


def _is_listened_to(weight: nn.Parameter) -> bool:
    return bool(weight._backward_hooks or weight._post_accumulate_grad_hooks)
