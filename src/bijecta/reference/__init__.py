"""The formulas of normalizing flows in plain NumPy, float64: one function per formula, meant to be read.

Tests compare the fast PyTorch code with these functions; nothing else in the package imports them.
"""
