"""The derivative of a determinant: its matrix of cofactors, as every backend computes it.

A cofactor is the determinant of a minor, the matrix without one row and one column. Elimination of each minor is exact up to a few
units of rounding of the matrix's largest elements, for singular matrices too, where det(A) A^-T does not exist. It takes O(n^5): above
`LARGEST` rows the backends go by singular values, which cost O(n^3) and are up to eighty times rougher.
"""

from __future__ import annotations

import numpy as np

LARGEST = 32
"""Rows of the largest matrix whose minors are written out: a million numbers."""


def minors(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the minors of a matrix (n, n) are, 2 <= n.

    Returns:
        places: int64 (n, n, n - 1, n - 1), for each row and column left out the places of what stays in the flattened matrix.
        signs: float64 (n, n) of 1 and -1.

    Example:
        >>> places, signs = minors(2)
        >>> places[0, 1].tolist(), signs[0, 1].item()  # the cofactor of the first row's second element is minus element 2
        ([[2]], -1.0)
    """
    whole = np.arange(n * n).reshape(n, n)
    places = np.stack([[np.delete(np.delete(whole, i, 0), j, 1) for j in range(n)] for i in range(n)])
    return places, (-1.0) ** np.add.outer(np.arange(n), np.arange(n))
