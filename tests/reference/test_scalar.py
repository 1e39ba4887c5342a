"""The reference scalar maps against central differences and known values."""

import numpy as np
import pytest

from bijecta.reference import scalar

X = np.linspace(0.05, 0.95, 19)
MAPS = {
    "affine": lambda x: scalar.affine(x, 2.0, -0.5),
    "log": lambda x: scalar.log_map(x, -1.0),
    "logit": lambda x: scalar.logit_map(x, -1.0, 3.0),
}


@pytest.mark.parametrize("name", list(MAPS))
def test_ladj_is_the_central_difference(name):
    step = 1e-6
    slope = (MAPS[name](X + step)[0] - MAPS[name](X - step)[0]) / (2 * step)
    np.testing.assert_allclose(MAPS[name](X)[1], np.log(slope), atol=1e-8)


def test_known_values():
    assert scalar.affine(2.0, 1.0, np.log(3.0))[0] == pytest.approx(7)
    assert scalar.log_map(np.e + 2, 2.0)[0] == pytest.approx(1)
    assert scalar.logit_map(0.75)[0] == pytest.approx(np.log(3))
    assert scalar.wrap(3.5, 0.0, 1.0) == pytest.approx(0.5)
    assert scalar.soft_clip(3.0, 3.0) == pytest.approx(3 * np.tanh(1))
