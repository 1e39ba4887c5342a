"""The data of a run: rows to fit, and the truth where it is known."""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.app.settings import PICTURE, TABLE, RunSettings
from bijecta.data import Toy, image, toy
from bijecta.errors import InputError

PIXELS, SHADES = 48, 15
BOX = 4.0

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    """What a run learns from.

    Attributes:
        rows: of shape (N, 2).
        truth: the exact density; None for a table.
        low: lower left corner of the square that is drawn.
        high: its upper right corner.
    """

    rows: Points
    truth: Toy | None
    low: Points
    high: Points


def make_dataset(settings: RunSettings, points: Any = None) -> Dataset:
    """Make the data of a run.

    Args:
        settings: of the run.
        points: the rows of an uploaded table, of shape (N, 2).

    Returns:
        The data.

    Raises:
        InputError: the upload is missing, or its rows cannot be used.
    """
    if settings.data == TABLE:
        rows = _usable(points)
        return Dataset(rows, None, *_square(np.quantile(rows, 0.001, axis=0), np.quantile(rows, 0.999, axis=0), 1.15))
    truth = truth_of(settings)
    return Dataset(truth.sample(settings.rows, settings.seed), truth, *_square(*truth.box()))


def truth_of(settings: RunSettings) -> Toy:
    """Return the density that the rows are drawn from."""
    if settings.data == PICTURE:
        return image(decode_picture(settings.picture), low=(-BOX, -BOX), high=(BOX, BOX), name=PICTURE)
    return toy(settings.data, settings.noise)


def encode_picture(brightness: Any) -> str:
    """Write a picture as a short text for a link: 48 x 48 pixels, 16 shades, compressed.

    Args:
        brightness: non-negative numbers of shape (rows, columns), first row on top; the brightest pixel becomes 15.

    Returns:
        Letters, digits, minus and underscore.

    Raises:
        InputError: there is nothing in the picture.
    """
    picture = np.asarray(brightness, dtype=np.float64)
    if picture.ndim != 2 or picture.size == 0 or not np.isfinite(picture).all() or picture.max() <= 0:
        raise InputError("The picture is empty. Draw something, or choose an image that is not all black.")
    shades = np.round(picture.clip(0) / picture.max() * SHADES).astype(np.uint8)
    packed = zlib.compress(_resized(shades).tobytes(), 9)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_picture(text: str) -> NDArray[np.uint8]:
    """Read what `encode_picture` wrote.

    Raises:
        InputError: the text is no picture.
    """
    try:
        unpacker = zlib.decompressobj()
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        pixels = np.frombuffer(unpacker.decompress(packed, PIXELS**2 + 1), dtype=np.uint8).reshape(PIXELS, PIXELS)
        if not unpacker.eof or pixels.max() > SHADES:
            raise ValueError("cut off, or too bright")
        return pixels
    except (ValueError, binascii.Error, zlib.error) as error:
        raise InputError("The link holds no complete picture. Draw it again, or copy the whole link.") from error


def fingerprint(points: Points) -> str:
    """Name uploaded points by their content."""
    return hashlib.sha256(np.ascontiguousarray(points, dtype=np.float64).tobytes()).hexdigest()[:12]


def to_wire(points: Points | None) -> str | None:
    """Write uploaded points as text, for the worker."""
    return None if points is None else base64.b64encode(np.ascontiguousarray(points, np.float64).tobytes()).decode()


def from_wire(message: Mapping[str, Any]) -> Points | None:
    """Read what `to_wire` wrote."""
    text = message.get("points")
    return None if text is None else np.frombuffer(base64.b64decode(text)).reshape(-1, 2)


def _usable(points: Any) -> Points:
    if points is None:
        raise InputError("The link names an uploaded table that this server does not have. Upload it again.")
    rows = np.asarray(points, dtype=np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 10 or (rows.std(axis=0) == 0).any():
        raise InputError("The two columns need at least 10 complete rows, and more than one value each.")
    return rows


def _square(low: Points, high: Points, margin: float = 1.0) -> tuple[Points, Points]:
    """Widen a box to a square, so that circles look like circles."""
    centre, half = (low + high) / 2, (high - low).max() / 2 * margin
    return centre - half, centre + half


def _resized(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a picture to 48 x 48 by its nearest pixels, keeping its proportions."""
    size = max(picture.shape)
    square = np.zeros((size, size), np.uint8)
    top, left = ((size - length) // 2 for length in picture.shape)
    square[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    nearest = ((np.arange(PIXELS) + 0.5) * size / PIXELS).astype(int)
    return square[np.ix_(nearest, nearest)]
