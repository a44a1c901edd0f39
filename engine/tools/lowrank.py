"""The best product of two thin matrices for a matrix, and how thin they are. D columns, O rows, R rank.

The best one (Eckart and Young) has the largest singular values; what it lacks is the others.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 1024
"""Up to this many rows or columns, all singular values are computed."""
SPARE = 32
"""Ranks that the quick way looks at beyond those that are asked for."""
NUMBERS = {"fixed": 64.0, "threshold": 0.0, "ratio": 0.5, "quantile": 0.5}
"""Mode → its number where none is given: AI Toolkit's."""


def ranks(values: Tensor, mode: str, number: float) -> int:
    """How many of the singular values, largest first, are kept. Values of nothing but rounding are never."""
    noise = values[0] * torch.finfo(values.dtype).eps * len(values)
    real = int((values > noise).sum())
    match mode:
        case "fixed":
            return min(int(number), len(values))
        case "threshold":
            return min(int((values > number).sum()), real)
        case "ratio":
            return max(1, min(int((values > values[0] * number).sum()), real))
    sums = values.double().cumsum(0)
    # a share of all is all that are real, which sums of rounded numbers do not say
    return max(1, real if number >= 1 else min(int((sums < number * sums[-1]).sum()) + 1, real))


def low_rank(matrix: Tensor, mode: str, number: float) -> tuple[Tensor, Tensor] | None:
    """Up [O, R] and down [R, D], of the same size, whose product is nearest to ``matrix`` [O, D] in fp32; None where no value is kept.

    Exact to rounding, but for mode fixed with few ranks of a large matrix: that is a randomised decomposition (Halko et al. 2011) with
    four rounds, from the same start each time, whose error is within a percent of the best.
    """
    size = min(matrix.shape)
    if mode == "fixed" and size > SMALL and number + SPARE < size / 4:
        with torch.random.fork_rng(devices=[matrix.device] if matrix.device.type == "cuda" else []):
            torch.manual_seed(0)
            left, values, right = torch.svd_lowrank(matrix, q=int(number) + SPARE, niter=4)
        right = right.T
    else:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    if not (kept := ranks(values, mode, number)):
        return None
    root = values[:kept].sqrt()
    return left[:, :kept] * root, root[:, None] * right[:kept]
