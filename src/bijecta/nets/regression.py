"""Linear prediction that starts from data."""

import torch
from torch import Tensor, nn


class Regression(nn.Module):
    r"""Predict numbers linearly: :math:`y = W c`, first by ridge regression, then learned on.

    .. math:: W^\top = (C^\top C + I)^{-1} C^\top Y

    with the centred rows C and Y of the data. Without `initialise` W is zero. There is no constant term.

    Args:
        features: number of inputs, of order one.
        out_features: number of outputs.

    References:
        A. Hoerl, R. Kennard (1970), Ridge Regression: Biased Estimation for Nonorthogonal Problems.

    Example:
        >>> import torch
        >>> from bijecta.nets import Regression
        >>> line, c = Regression(1, 1), torch.linspace(-100, 100, 50)[:, None]
        >>> line.initialise(c, 7 - 3 * c)
        >>> line(torch.ones(1)).round(decimals=2)
        tensor([-3.], grad_fn=<RoundBackward1>)
    """

    def __init__(self, features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, features))

    def forward(self, inputs: Tensor) -> Tensor:
        r"""Compute the outputs (\*B, out_features) of inputs (\*B, features)."""
        return nn.functional.linear(inputs, self.weight)

    @torch.no_grad()
    def initialise(self, inputs: Tensor, outputs: Tensor) -> None:
        r"""Fit the weights to rows of inputs (\*B, features) and outputs (\*B, out_features)."""
        c, y = (rows.reshape(-1, rows.shape[-1]).double() for rows in (inputs, outputs))
        c, y = c - c.mean(0), y - y.mean(0)
        self.weight.copy_(torch.linalg.solve(c.T @ c + torch.eye(c.shape[1]).to(c), c.T @ y).T)
