"""Saving and loading models."""

from bijecta.persistence.exporting import Exported, export
from bijecta.persistence.files import load, load_into, read_header, save
from bijecta.persistence.hub import from_pretrained, push_to_hub, save_pretrained
from bijecta.persistence.model_card import model_card
from bijecta.persistence.tabular import TableModel, load_table_model

__all__ = [
    "Exported",
    "TableModel",
    "export",
    "from_pretrained",
    "load",
    "load_into",
    "load_table_model",
    "model_card",
    "push_to_hub",
    "read_header",
    "save",
    "save_pretrained",
]
