"""Saving and loading models."""

from bijecta.persistence.files import load, load_into, read_header, save

__all__ = ["load", "load_into", "read_header", "save"]
