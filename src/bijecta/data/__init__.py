"""Arrays, tables and their schema, splits, and toy sets. NumPy only; no tensors here."""

from bijecta.data.files import write_atomically
from bijecta.data.findings import Finding
from bijecta.data.inference import infer_schema
from bijecta.data.reading import read_table
from bijecta.data.schema import Column, Schema
from bijecta.data.splits import split_rows
from bijecta.data.streams import Stream
from bijecta.data.table import Table
from bijecta.data.toys import TOYS, Toy, image, toy
from bijecta.data.writing import write_table

__all__ = [
    "TOYS",
    "Column",
    "Finding",
    "Schema",
    "Stream",
    "Table",
    "Toy",
    "image",
    "infer_schema",
    "read_table",
    "split_rows",
    "toy",
    "write_atomically",
    "write_table",
]
