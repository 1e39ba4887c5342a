"""Normalizing flows: exact densities and exact samples from an invertible map."""

__version__ = "0.1.0"
