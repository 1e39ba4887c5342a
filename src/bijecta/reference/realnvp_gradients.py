"""The gradient of RealNVP's loss, derived by hand: back-propagation without a framework.

The loss is the mean negative log-likelihood of N points, in nats per point,

    L = 1/N sum_n [ 1/2 |z_n|^2 + D/2 log 2π - sum over layers and moved features of s_n ] + constant,

where the constant is the ladj of the standardiser, which is not trained. Write dY for ∂L/∂Y: it has the shape of Y.
Reverse mode starts at the end, where dz = z / N from the term 1/2 |z|^2, and goes back layer by layer. All we need at
one layer is dz at its exit. It hands back the gradients of its weights and dx at its entry.

One layer. With z_kept = x_kept and z_moved = x_moved exp(s) + t, s occurs in L twice: in z_moved and, as the ladj, in
the term -s/N. The chain rule gives, element by element,

    dt       = dz_moved                                because ∂z_moved/∂t = 1
    ds       = dz_moved x_moved exp(s) - 1/N           because ∂z_moved/∂s = x_moved exp(s)
    dx_moved = dz_moved exp(s)
    da       = ds (1 - (s / limit)^2)                  because s = limit tanh(a / limit), and tanh' = 1 - tanh^2

Its conditioner. Reading (a, t) = h2 W3 + b3, h2 = tanh(u2), u2 = h1 W2 + b2, ... from right to left,

    do = (da, dt)                                      side by side
    dW3 = h2^T do,     db3 = sum_n do_n,   dh2   = do W3^T,     du2 = dh2 (1 - h2^2)
    dW2 = h1^T du2,    db2 = sum_n du2_n,  dh1   = du2 W2^T,    du1 = dh1 (1 - h1^2)
    dW1 = kept^T du1,  db1 = sum_n du1_n,  dkept = du1 W1^T

The first two columns follow from (h W)_nj = sum_i h_ni W_ij, so ∂L/∂W_ij = sum_n h_ni do_nj; the sum over n is there
because all points share one W. The third is the same sum read for h_ni.

Back at the layer. x_kept goes two ways, straight into z_kept and through the conditioner; gradients of both ways add:

    dx_kept = dz_kept + dkept
"""

import numpy as np

from bijecta.reference.arrays import Array, Mask, sum_features
from bijecta.reference.densities import standard_normal_log_prob
from bijecta.reference.linear import actnorm_forward
from bijecta.reference.realnvp import Conditioner, Memory, RealNVP, layer_forward


def conditioner_backward(weights: Conditioner, memory: Memory, d_output: Array) -> tuple[Conditioner, Array]:
    """Send a gradient back through one conditioner.

    dW = h^T du,   db = sum_n du_n,   dh = du W^T,   du = dh (1 - tanh^2), layer by layer from the last

    Args:
        weights: of the conditioner.
        memory: of its layer, from `layer_forward` on N points.
        d_output: gradient with respect to the output (a, t), of shape (N, 2 n_moved).

    Returns:
        The gradients of the weights, and the gradient with respect to the kept features, of shape (N, n_kept).

    Reference:
        Rumelhart, Hinton & Williams (1986), "Learning representations by back-propagating errors".

    Example:
        >>> from bijecta.reference.realnvp import start_conditioner
        >>> weights = start_conditioner(1, 1, n_hidden=4, generator=np.random.default_rng(0))
        >>> _, memory = layer_forward(weights, np.ones((5, 2)), np.array([True, False]), limit=3.0)
        >>> gradients, d_kept = conditioner_backward(weights, memory, np.ones((5, 2)))
        >>> gradients.b3, d_kept.shape  # every point adds one to the gradient of b3
        (array([5., 5.]), (5, 1))
    """
    d_u2 = (d_output @ weights.W3.T) * (1.0 - memory.hidden_2**2)  # (N, H)
    d_u1 = (d_u2 @ weights.W2.T) * (1.0 - memory.hidden_1**2)  # (N, H)
    gradients = Conditioner(
        W1=memory.kept.T @ d_u1,  # (n_kept, H)
        b1=d_u1.sum(axis=0),  # (H,)
        W2=memory.hidden_1.T @ d_u2,  # (H, H)
        b2=d_u2.sum(axis=0),  # (H,)
        W3=memory.hidden_2.T @ d_output,  # (H, 2 n_moved)
        b3=d_output.sum(axis=0),  # (2 n_moved,)
    )
    return gradients, d_u1 @ weights.W1.T  # (N, n_kept)


def layer_backward(
    weights: Conditioner, memory: Memory, d_z: Array, keep: Mask, limit: float
) -> tuple[Conditioner, Array]:
    """Send a gradient back through one coupling layer, its ladj included.

    dt = dz_moved,   ds = dz_moved x_moved exp(s) - 1/N,   da = ds (1 - (s / limit)^2)
    dx_moved = dz_moved exp(s),   dx_kept = dz_kept + what comes back through the conditioner

    Args:
        weights: of the layer.
        memory: from `layer_forward` on N points.
        d_z: gradient of the loss with respect to the layer's z, of shape (N, D).
        keep: mask of shape (D,), True for the kept features.
        limit: largest |s|.

    Returns:
        The gradients of the weights, and the gradient with respect to the layer's x, of shape (N, D).

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP".

    Example:
        >>> from bijecta.reference.realnvp import start_conditioner
        >>> weights = start_conditioner(1, 1, n_hidden=4, generator=np.random.default_rng(0))
        >>> keep = np.array([True, False])
        >>> z, memory = layer_forward(weights, np.array([[1.0, 2.0]]), keep, limit=3.0)
        >>> gradients, d_x = layer_backward(weights, memory, z, keep, limit=3.0)
        >>> gradients.b3, d_x  # s: 2 * 2 - 1, t: 2
        (array([3., 2.]), array([[1., 2.]]))
    """
    scale = np.exp(memory.log_scale)  # (N, n_moved)
    d_moved = d_z[:, ~keep]  # (N, n_moved)
    d_log_scale = d_moved * memory.moved * scale - 1.0 / len(d_z)  # (N, n_moved)
    d_a = d_log_scale * (1.0 - (memory.log_scale / limit) ** 2)  # (N, n_moved)
    gradients, d_kept = conditioner_backward(weights, memory, np.concatenate([d_a, d_moved], axis=1))
    d_x = np.empty_like(d_z)  # (N, D)
    d_x[:, ~keep] = d_moved * scale
    d_x[:, keep] = d_z[:, keep] + d_kept
    return gradients, d_x


def nll_and_gradients(flow: RealNVP, x: Array) -> tuple[float, list[Conditioner]]:
    """Evaluate the mean negative log-likelihood and its gradient with respect to every weight.

    L = -1/N sum_n log p(x_n)

    Args:
        flow: the flow.
        x: points of shape (N, D).

    Returns:
        L in nats per point, and for every layer the gradients ∂L/∂W1, ..., ∂L/∂b3.

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP".

    Example:
        >>> from bijecta.reference.realnvp import start_realnvp
        >>> x = np.array([[-1.0], [1.0]])
        >>> flow = start_realnvp(x, n_layers=2, generator=np.random.default_rng(0))
        >>> nll, gradients = nll_and_gradients(flow, x)
        >>> round(nll, 6), gradients[1].b3 + 0.0  # already the best normal: nothing left to gain
        (1.418939, array([0., 0.]))
    """
    z, ladj = actnorm_forward(x, flow.log_scale, flow.shift)  # (N, D), (N,)
    memories = []
    for weights, keep in zip(flow.layers, flow.masks, strict=True):
        z, memory = layer_forward(weights, z, keep, flow.limit)
        ladj = ladj + sum_features(memory.log_scale)
        memories.append(memory)
    nll = -float(np.mean(standard_normal_log_prob(z) + ladj))

    d_z, gradients = z / len(x), []
    for weights, memory, keep in zip(flow.layers[::-1], memories[::-1], flow.masks[::-1], strict=True):
        layer_gradients, d_z = layer_backward(weights, memory, d_z, keep, flow.limit)
        gradients.append(layer_gradients)
    return nll, gradients[::-1]
