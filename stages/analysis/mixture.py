"""Two kinds of margins, told apart without labels: a mixture of two Gaussians, by EM.

STEER (arXiv 2511.06190) chooses its threshold of confidence so. Margins crowd at 1, where most
differ by thousandths, so the mixture is one of their log-odds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EDGE = 1e-6  # margins of 0 and 1 have no log-odds
LEAST_SD = 1e-2  # of a component, in log-odds: a single value would have none
MAX_STEPS = 500
CLOSE = 1e-6  # between the means of two steps


@dataclass(frozen=True)
class Mixture:
    """Two Gaussians, the lower one first: weights, means and standard deviations, each [2]."""

    weights: Floats
    means: Floats
    sds: Floats

    def shares(self, x: Floats) -> Floats:
        """Return how likely each value is either component's: [values, 2], rows add up to 1."""
        z = (x[:, None] - self.means) / self.sds
        log_density = np.log(self.weights / self.sds) - z**2 / 2
        density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
        shares: Floats = density / density.sum(axis=1, keepdims=True)
        return shares


def fit(x: Floats) -> Mixture | None:
    """Return the mixture of values [n] that EM finds from their halves beside the mean.

    None if all values are the same.
    """
    high = x > x.mean()
    if not high.any():
        return None
    shares = np.stack([~high, high], axis=1).astype(np.float64)
    found = of_shares(x, shares)
    for _ in range(MAX_STEPS):
        before, found = found, of_shares(x, found.shares(x))
        if np.abs(found.means - before.means).max() < CLOSE:
            break
    return found


def of_shares(x: Floats, shares: Floats) -> Mixture:
    """Return the mixture by the shares [values, 2] that its components have of each value."""
    n = np.maximum(shares.sum(axis=0), np.finfo(np.float64).tiny)
    means = shares.T @ x / n
    variances = (shares * (x[:, None] - means) ** 2).sum(axis=0) / n
    return Mixture(n / len(x), means, np.maximum(np.sqrt(variances), LEAST_SD))


def threshold(margins: Floats) -> float | None:
    """Return the margin from which on the higher component is the likelier one.

    `margins`: [n], in [0, 1]. None if they are of one kind: no margin between the means divides
    the two components.
    """
    inside = np.clip(margins, EDGE, 1 - EDGE)
    found = fit(np.log(inside / (1 - inside)))
    if found is None:
        return None
    grid = np.linspace(found.means[0], found.means[1], 10_000)
    likelier = found.shares(grid)[:, 1] >= 1 / 2
    if likelier[0] or not likelier[-1]:
        return None
    return float(1 / (1 + np.exp(-grid[likelier.argmax()])))
