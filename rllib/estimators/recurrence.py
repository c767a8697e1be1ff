"""The sum that every estimator is made of, without a loop over time.

Legend: T rows, N environments.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def goes_on(dones: Bools, reset_rows: Bools) -> Bools:
    """[T, N] whether the next row is a step of the same episode.

    It is not where the episode or the fragment ends, nor where an agent's own steps end before the
    fragment does, so that reset rows fill its column.
    """
    on = ~(dones | reset_rows)
    on[:-1] &= ~reset_rows[1:]
    on[-1] = False
    return on


def accumulate(terms: Floats, decay: Floats) -> Floats:
    """``x_t = terms_t + decay_t x_{t+1}``, backwards in time, with nothing after the last row.

    In log2 T steps, in each of which a row takes over from twice as far ahead (Hillis & Steele
    1986): a loop over T pays the price of a numpy call for every row, which is ten times this.

    Args:
        terms: [T, N].
        decay: [T, N]; 0 where nothing is passed on to a row from the next.
    """
    x, reach = terms.copy(), decay.copy()
    step = 1
    while step < len(x):
        x[:-step] += reach[:-step] * x[step:]
        reach[:-step] *= reach[step:]
        step *= 2
    return x
