"""Colours of densities: from dark to bright, even to the eye, the same without colour vision."""

import numpy as np

# Eleven support points of viridis (S. van der Walt, N. Smith, 2015), between which colours are mixed.
ANCHORS = (
    (68, 1, 84), (72, 36, 117), (65, 68, 135), (53, 95, 141), (42, 120, 142), (33, 145, 140),
    (34, 168, 132), (68, 191, 112), (122, 209, 81), (189, 223, 38), (253, 231, 37),
)  # fmt: skip

VIRIDIS = np.stack(
    [
        np.interp(np.linspace(0, len(ANCHORS) - 1, 256), range(len(ANCHORS)), channel)
        for channel in zip(*ANCHORS, strict=True)
    ],
    axis=1,
).astype(np.uint8)
"""256 colours of shape (256, 3)."""
