"""Series with known statistics."""

import numpy as np

from experiments.results.series import Floats


def autoregressive(count: int, rho: float, seed: int) -> Floats:
    """Give a Gaussian series of variance 1 whose neighbours have correlation ``rho``."""
    random = np.random.default_rng(seed)
    noise = (random.normal(size=count) * np.sqrt(1 - rho * rho)).tolist()
    value = float(random.normal())
    values = []
    for step in noise:
        value = rho * value + step
        values.append(value)
    return np.array(values)
