"""Small problems in fractions: what bounds must not exceed, and points at which their rounding margins matter."""

from fractions import Fraction

import numpy as np


def fractions(values):
    """An array (...) of floats as an object array of fractions, none of them rounded."""
    return np.vectorize(lambda value: Fraction(float(value)), otypes=[object])(np.asarray(values))


def sq_norm(vector):
    return sum((value * value for value in vector), Fraction(0))


def at_most_root(value, sq):
    """Whether a float or fraction is at most the root of a fraction."""
    value = Fraction(value)
    return value <= 0 or value * value <= sq


def ill_conditioned(rng, d, low=-5, high=1):
    """A factor (d, d) with singular values from 10**low to 10**high."""
    left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
    return np.ascontiguousarray(left * np.logspace(low, high, d)) @ right


def closed_form(G, x, x_i, x_j):
    """Eq. (8) for one pair in fractions: numerator, and square of the denominator."""
    G, x, x_i, x_j = (fractions(value) for value in (G, x, x_i, x_j))
    gain = sq_norm(G @ (x - x_j)) - sq_norm(G @ (x - x_i))
    return gain, 4 * sq_norm(G.T @ (G @ (x_i - x_j)))


def is_below_closed_form(value, G, x, x_i, x_j):
    gain, sq = closed_form(G, x, x_i, x_j)
    return Fraction(value) <= 0 or (gain > 0 and Fraction(value) ** 2 * sq <= gain * gain)
