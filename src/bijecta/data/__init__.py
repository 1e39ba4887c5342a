"""Arrays, tables and their schema, splits, and toy sets. NumPy only; no tensors here."""

from bijecta.data.files import write_atomically
from bijecta.data.splits import split_rows
from bijecta.data.toys import TOYS, Toy, image, toy

__all__ = ["TOYS", "Toy", "image", "split_rows", "toy", "write_atomically"]
