"""Rows, truths, and pictures that fit into a link."""

import numpy as np
import pytest

from bijecta.app.datasets import decode_picture, encode_picture, fingerprint, from_wire, make_dataset, to_wire
from bijecta.app.settings import PICTURE, TABLE, RunSettings
from bijecta.data import toy
from bijecta.errors import InputError


def test_rows_are_those_of_the_toy_set():
    data = make_dataset(RunSettings(data="rings", noise=0.2, rows=50, seed=3))
    np.testing.assert_array_equal(data.rows, toy("rings", 0.2).sample(50, 3))
    assert data.truth.entropy == toy("rings", 0.2).entropy
    assert np.ptp(data.high - data.low) == pytest.approx(0), "a square"


def test_a_picture_comes_back_from_its_text():
    drawn = np.zeros((48, 48))
    drawn[10:20, 30:40] = 7
    text = encode_picture(drawn)
    np.testing.assert_array_equal(decode_picture(text), 15 * (drawn > 0))
    assert len(text) < 200
    assert text.replace("-", "").replace("_", "").isalnum()


def test_a_picture_of_another_shape_keeps_its_proportions():
    decoded = decode_picture(encode_picture(np.ones((24, 96))))
    assert (decoded.sum(axis=1) > 0).sum() == 12
    assert (decoded.sum(axis=0) > 0).all()


def test_points_of_a_picture_lie_where_it_is_bright():
    drawn = np.zeros((48, 48))
    drawn[:24, :24] = 1  # top left
    data = make_dataset(RunSettings(data=PICTURE, picture=encode_picture(drawn), rows=100))
    assert (data.rows[:, 0] <= 0).all()
    assert (data.rows[:, 1] >= 0).all()
    assert data.truth.entropy == pytest.approx(np.log(16))


@pytest.mark.parametrize("text", ["", "%%%", "eJw", encode_picture(np.ones((48, 48)))[:-6]])
def test_a_broken_picture_is_refused(text):
    with pytest.raises(InputError, match="no complete picture"):
        decode_picture(text)


def test_an_empty_picture_is_refused():
    with pytest.raises(InputError, match="picture is empty"):
        encode_picture(np.zeros((48, 48)))


def test_uploaded_points(tmp_path):
    points = np.random.default_rng(0).normal(size=(50, 2))
    points[3] = np.nan
    settings = RunSettings(data=TABLE, table=fingerprint(points))
    data = make_dataset(settings, points)
    assert len(data.rows) == 49
    assert data.truth is None
    np.testing.assert_array_equal(from_wire({"points": to_wire(points)}), points)
    assert from_wire({"points": to_wire(None)}) is None


def test_unusable_points_are_refused():
    settings = RunSettings(data=TABLE, table="abc")
    with pytest.raises(InputError, match="Upload it again"):
        make_dataset(settings)
    with pytest.raises(InputError, match="more than one value"):
        make_dataset(settings, np.ones((50, 2)))
