"""All weights of a module in one piece of memory."""

import torch
from torch import Tensor, nn


class FlatWeights:
    r"""Move the trainable weights of a module behind each other, and their gradients too.

    The parameters stay the same objects and become views. An optimiser, the norm of the gradient and a moving average
    then take one operation each instead of one per parameter, which is most of the time that a small flow would take.

    Args:
        module: whose weights to move.

    Attributes:
        values: one tensor per dtype and device, each with its ``.grad``.
    """

    def __init__(self, module: nn.Module) -> None:
        self._groups: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
        for weight in module.parameters():
            if weight.requires_grad:
                self._groups.setdefault((weight.dtype, weight.device), []).append(weight)
        self.values = [_join(group) for group in self._groups.values()]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for values in self.values:
            _gradient(values).zero_()

    @torch.no_grad()
    def clip(self, largest: float) -> Tensor:
        """Shorten the gradient to a largest norm; return its norm before. An infinite one becomes zero or NaN."""
        gradients = [_gradient(values) for values in self.values]
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack([n.double() for n in norms]))
        shrink = (largest / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(shrink)
        return norm

    def release(self) -> None:
        """Give every parameter its own memory again, and no gradient."""
        for group in self._groups.values():
            for weight in group:
                weight.data, weight.grad = weight.data.clone(), None


@torch.no_grad()
def _join(group: list[nn.Parameter]) -> nn.Parameter:
    values = nn.Parameter(torch.cat([weight.flatten() for weight in group]))
    values.grad = torch.zeros_like(values)
    sizes = [weight.numel() for weight in group]
    for weight, part, gradient in zip(group, values.split(sizes), values.grad.split(sizes), strict=True):
        weight.data, weight.grad = part.view_as(weight), gradient.view_as(weight)
    return values


def _gradient(values: nn.Parameter) -> Tensor:
    if values.grad is None:  # pragma: no cover - it was set above, and nobody else knows these tensors
        raise RuntimeError("The gradient is gone.")
    return values.grad
