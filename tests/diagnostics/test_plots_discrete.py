"""Bars of labels: their lengths are the shares that NumPy counts."""

import numpy as np
import pytest

from bijecta.diagnostics.plots import plot_frequencies
from bijecta.errors import InputError


def test_bars_are_the_shares_and_the_most_frequent_is_on_top():
    figure = plot_frequencies({"colour": ([0, 1, 1, 2, 1], [0, 0, 1, 1], ("red", "green", ""))})
    (panel,) = figure.axes
    assert [bar.get_width() for bar in panel.patches] == pytest.approx([0.2, 0.2, 0.6])
    assert [label.get_text() for label in panel.get_yticklabels()] == ["red", "(empty)", "green"]
    assert list(panel.containers[1].lines[0].get_xdata()) == pytest.approx([0.5, 0.0, 0.5])


def test_rare_labels_are_left_out():
    codes = np.repeat(np.arange(50), np.arange(50))
    (panel,) = plot_frequencies({"n": (codes, codes, [f"label{k}" for k in range(50)])}).axes
    assert len(panel.patches) == 20
    assert panel.get_yticklabels()[-1].get_text() == "label49"


def test_no_columns_are_refused():
    with pytest.raises(InputError, match="at least one column"):
        plot_frequencies({})
