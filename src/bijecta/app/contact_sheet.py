"""The densities of several runs in one PNG, on the same axes."""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

from bijecta.app.colours import VIRIDIS
from bijecta.app.messages import Array
from bijecta.errors import require

SIDE, GAP, CAPTION = 320, 16, 66
INK, PAPER = (27, 36, 48), (255, 255, 255)


def contact_sheet(pictures: Sequence[Array], captions: Sequence[str], box: Sequence[float]) -> bytes:
    """Put densities side by side.

    Args:
        pictures: each of shape (pixels, pixels), 0 to 255.
        captions: a text under each.
        box: left, bottom, right, top of all of them, in the units of the data.

    Returns:
        A PNG.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    images = require("PIL.Image", extra="app", purpose="Drawing pictures")
    drawing = require("PIL.ImageDraw", extra="app", purpose="Drawing pictures")
    sheet = images.new("RGB", (GAP + len(pictures) * (SIDE + GAP), SIDE + 2 * GAP + CAPTION), PAPER)
    pen = drawing.Draw(sheet)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = GAP + number * (SIDE + GAP)
        tile = images.fromarray(VIRIDIS[picture]).resize((SIDE, SIDE), images.Resampling.BICUBIC)
        sheet.paste(tile, (left, GAP))
        pen.text((left, GAP + SIDE + 6), _wrapped(caption), fill=INK, font=_font(14))
    x = f"x from {box[0]:.3g} to {box[2]:.3g}, y from {box[1]:.3g} to {box[3]:.3g}, in all pictures"
    pen.text((GAP, GAP + SIDE + CAPTION - 10), x, fill=INK, font=_font(12))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _wrapped(caption: str) -> str:
    return "\n".join(textwrap.wrap(caption, 42)[:3])


def _font(size: int) -> Any:
    return require("PIL.ImageFont", extra="app", purpose="Drawing pictures").load_default(size)
