"""The convolutional conditioners of image flows."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn, relu_
from torch.nn.functional import relu

from bijecta.functional.kernels import three_convolutions
from bijecta.nets.inputs import activation_named, check_context


class ConvNet(nn.Module):
    r"""Compute channels from an image and a context: 3x3, 1x1, 3x3 convolutions, the last one zero at the start.

    .. math:: \theta = W_3 * \phi(W_2 * \phi(W_1 * x + V c + b_1) + b_2) + b_3

    A convolution does the same everywhere. With ``size``, the first bias is an image of its own: it tells the network
    where it is, which matters where objects are centred.

    Args:
        channels: channels of the input image.
        out_channels: channels of the output.
        context: number C of context features; they are added to the first hidden image at every pixel.
        hidden: channels of the two hidden images.
        activation: "relu", "tanh", "silu", "gelu" or "elu".
        size: height and width of the images, for a bias of every pixel (default: the same bias everywhere).

    References:
        D. Kingma, P. Dhariwal (2018), Glow: Generative Flow with Invertible 1x1 Convolutions.

    Example:
        >>> import torch
        >>> from bijecta.nets import ConvNet
        >>> ConvNet(2, 4)(torch.ones(5, 2, 8, 8)).shape
        torch.Size([5, 4, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        context: int = 0,
        hidden: int = 64,
        activation: str = "relu",
        size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.context, self.activation = context, activation_named(activation)
        self.first = nn.Conv2d(channels, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 1)
        self.last = nn.Conv2d(hidden, out_channels, 3, padding=1)
        self.context_map = nn.Linear(context, hidden, bias=False) if context else None
        self.place = nn.Parameter(torch.zeros(hidden, *size)) if size else None
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the channels (\*B, out_channels, H, W) of x (\*B, channels, H, W) and a context (\*B, C)."""
        batch = x.shape[:-3]
        context = check_context(context, self.context, batch)
        x = x.reshape(-1, *x.shape[-3:])
        added = self._added(context)
        layers = (self.first, self.second, self.last)
        if self.activation is not relu or any(type(layer) is not nn.Conv2d for layer in layers):
            out = self._convolve(x, added)
        else:
            weights = [weight for layer in layers for weight in layer.parameters()]
            out = three_convolutions(self._convolve, x, added, weights)
        return out.reshape(*batch, *out.shape[1:])

    def _added(self, context: Tensor | None) -> Tensor | None:
        """Compute what is added to the first hidden image: what the context says, and the bias of every pixel."""
        if self.context_map is None or context is None:
            return self.place
        said: Tensor = self.context_map(context.reshape(-1, self.context))[:, :, None, None]
        return said if self.place is None else said + self.place

    def _convolve(self, x: Tensor, added: Tensor | None) -> Tensor:
        # Where the channels of a pixel lie behind each other, a convolution reorders neither its input nor its result.
        h = self.first(x.movedim(-3, -1).contiguous().movedim(-1, -3))
        if added is not None:
            h = h + added.to(h.dtype)
        # No convolution needs its result for the gradient, so that a relu may write over it.
        activation = relu_ if self.activation is relu else self.activation
        out: Tensor = self.last(activation(self.second(activation(h))))
        return out


class ConvNetBeside(nn.Module):
    r"""Compute channels from an image and a second image of the same size, which comes as a flat context.

    The conditioner of a flow of images given images.

    Args:
        channels: channels of the input image.
        out_channels: channels of the output.
        beside: shape (K, H, W) of the second image.
        hidden: channels of the hidden images of the `ConvNet`, which gets both images on top of each other.

    Raises:
        ShapeError: at the call, when the context is not the second image.

    References:
        J. Ho, X. Chen, A. Srinivas, Y. Duan, P. Abbeel (2019), Flow++ (a flow of the noise given the image).

    Example:
        >>> import torch
        >>> from bijecta.nets import ConvNetBeside
        >>> ConvNetBeside(2, 4, beside=(1, 8, 8))(torch.ones(5, 2, 8, 8), torch.ones(5, 64)).shape
        torch.Size([5, 4, 8, 8])
    """

    def __init__(self, channels: int, out_channels: int, *, beside: Sequence[int], hidden: int = 64) -> None:
        super().__init__()
        self.beside = tuple(beside)
        self.net = ConvNet(channels + self.beside[0], out_channels, hidden=hidden, size=self.beside[1:])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Compute the channels (\*B, out_channels, H, W) of x (\*B, channels, H, W), context (\*B, K * H * W)."""
        given = check_context(context, prod(self.beside), x.shape[:-3])
        if given is not None:
            x = torch.cat([x, given.unflatten(-1, self.beside).to(x.dtype)], -3)
        out: Tensor = self.net(x)
        return out
