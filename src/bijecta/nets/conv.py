"""The convolutional conditioner of image flows."""

from torch import Tensor, nn

from bijecta.nets.inputs import activation_named, check_context


class ConvNet(nn.Module):
    r"""Compute channels from an image and a context: 3x3, 1x1, 3x3 convolutions, the last one zero at the start.

    .. math:: \theta = W_3 * \phi(W_2 * \phi(W_1 * x + V c + b_1) + b_2) + b_3

    Args:
        channels: channels of the input image.
        out_channels: channels of the output.
        context: number C of context features; they are added to the first hidden image at every pixel.
        hidden: channels of the two hidden images.
        activation: "relu", "tanh", "silu", "gelu" or "elu".

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions.

    Example:
        >>> import torch
        >>> from bijecta.nets import ConvNet
        >>> ConvNet(2, 4)(torch.ones(5, 2, 8, 8)).shape
        torch.Size([5, 4, 8, 8])
    """

    def __init__(
        self, channels: int, out_channels: int, *, context: int = 0, hidden: int = 64, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.context, self.activation = context, activation_named(activation)
        self.first = nn.Conv2d(channels, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 1)
        self.last = nn.Conv2d(hidden, out_channels, 3, padding=1)
        self.context_map = nn.Linear(context, hidden, bias=False) if context else None
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the channels (\*B, out_channels, H, W) of x (\*B, channels, H, W) and a context (\*B, C)."""
        batch = x.shape[:-3]
        context = check_context(context, self.context, batch)
        h = self.first(x.reshape(-1, *x.shape[-3:]))
        if self.context_map is not None and context is not None:
            h = h + self.context_map(context.reshape(-1, self.context).to(h.dtype))[:, :, None, None]
        h = self.activation(self.second(self.activation(h)))
        out: Tensor = self.last(h)
        return out.reshape(*batch, *out.shape[1:])
