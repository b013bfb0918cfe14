"""Arithmetic on rows of float32 that numba compiles: many steps in one pass over a core's cache.

Rows are one-dimensional and contiguous, which is what compilers turn into vector instructions.
numba keeps compiled code until the file that a function is in changes: who changes this file must
delete that of its callers (`__pycache__/*.nbi`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor

from ...compilation import compiled as kept

Floats = NDArray[np.float32]
#: Floats, or the bits of bfloat16 numbers.
Numbers = NDArray[np.float32] | NDArray[np.int16]
Function = Callable[..., Any]
Compiled = TypeVar("Compiled", bound=Callable[..., object])

#: Additions may change their order, as they do in matrix products; all else is as written.
_MATHS = {"contract", "reassoc", "nsz"}

# Phi(x) = 1/2 + x P(x^2) / Q(x^2), the normal distribution, for |x| <= 5.4: within 2e-8 (fitted).
_LAST = np.float32(5.4)
_P = (0.39894218, 0.034785231, 0.0044350439, 0.00015895974, 3.1334484e-06, -2.2257156e-08)
_Q = (1.0, 0.2538586, 0.028430078, 0.0017636017, 5.8676872e-05)
_P0, _P1, _P2, _P3, _P4, _P5 = (np.float32(part) for part in _P)
_P6 = np.float32(1.1610433e-10)
_Q0, _Q1, _Q2, _Q3, _Q4 = (np.float32(part) for part in _Q)
_HALF, _ZERO = np.float32(0.5), np.float32(0)

# The same without a division, for |x| <= 4.2: within 8e-6, much finer than bfloat16.
_COARSE_LAST = np.float32(4.2)
_C = (0.39890744, -0.066360372, 0.0098301305, -0.001114148, 9.4574403e-05, -5.7607698e-06)
_C0, _C1, _C2, _C3, _C4, _C5 = (np.float32(part) for part in _C)
_C6, _C7, _C8 = np.float32(2.3436744e-07), np.float32(-5.6333182e-09), np.float32(5.9980687e-11)

# 2^r for |r| <= 1/2: within 2e-7 of it (fitted).
_LOG2_E = np.float32(1.44269504)
_E = (1.0000001, 0.69314694, 0.2402212, 0.05550713, 0.009675542, 0.0013276471)
_E0, _E1, _E2, _E3, _E4, _E5 = (np.float32(part) for part in _E)
_LEAST_EXPONENT = np.float32(-126)
_FRACTION_BITS, _BIAS = np.int32(23), np.int32(127)

_HALF_BITS = np.int32(16)
_ROUND_DOWN, _LAST_BIT = np.int32(0x7FFF), np.int32(1)


def compiled(function: Compiled) -> Compiled:
    """Compile a function with numba; once, until its file changes."""
    return kept(function, error_model="numpy", fastmath=_MATHS)


def inlined(function: Compiled) -> Compiled:
    """Compile a function into the loops that call it, so that these stay vectors."""
    return cast(Compiled, njit(inline="always", error_model="numpy", fastmath=_MATHS)(function))


def as_numbers(tensor: Tensor) -> Numbers:
    """Return a CPU tensor of float32 or bfloat16 as compiled code takes it, without a copy."""
    held = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    return cast(Numbers, held.detach().numpy())


def widen(number: np.float32 | np.int16) -> np.float32:
    """Return a float32, or the bits of a bfloat16, as a float32; in compiled code only."""
    raise NotImplementedError


@overload(widen, strict=False, jit_options={"error_model": "numpy", "fastmath": _MATHS})
def _widen(number: types.Type) -> Function:
    if isinstance(number, types.Integer):
        return lambda number: np.int32(np.int32(number) << _HALF_BITS).view(np.float32)
    return lambda number: number


def store(value: np.float32, row: Numbers, place: int) -> None:
    """Write a float32 into a row, rounded where it holds bfloat16; in compiled code only."""
    raise NotImplementedError


@overload(store, strict=False, jit_options={"error_model": "numpy", "fastmath": _MATHS})
def _store(value: types.Type, row: types.Array, place: types.Type) -> Function:
    del value, place
    return _store_rounded if isinstance(row.dtype, types.Integer) else _store_plain


def _store_rounded(value: np.float32, row: NDArray[np.int16], place: int) -> None:
    bits = np.float32(value).view(np.int32)
    even = (bits >> _HALF_BITS) & _LAST_BIT
    row[place] = np.int16((bits + _ROUND_DOWN + even) >> _HALF_BITS)


def _store_plain(value: np.float32, row: Floats, place: int) -> None:
    row[place] = value


@inlined
def gelu(x: np.float32) -> np.float32:
    """Return x Phi(x)."""
    inner = _LAST if x > _LAST else x
    inner = -_LAST if inner < -_LAST else inner
    u = inner * inner
    above = (((((_P6 * u + _P5) * u + _P4) * u + _P3) * u + _P2) * u + _P1) * u + _P0
    below = (((_Q4 * u + _Q3) * u + _Q2) * u + _Q1) * u + _Q0
    share = _HALF + inner * above / below
    value: np.float32 = (_ZERO if x < -_LAST else x) * share
    return value


@inlined
def gelu_coarse(x: np.float32) -> np.float32:
    """Return x Phi(x), within 1e-4."""
    inner = _COARSE_LAST if x > _COARSE_LAST else x
    inner = -_COARSE_LAST if inner < -_COARSE_LAST else inner
    u = inner * inner
    share = (((_C8 * u + _C7) * u + _C6) * u + _C5) * u + _C4
    share = _HALF + inner * ((((share * u + _C3) * u + _C2) * u + _C1) * u + _C0)
    value: np.float32 = (_ZERO if x < -_COARSE_LAST else x) * share
    return value


def activate(x: np.float32, row: Numbers) -> np.float32:
    """Return x Phi(x) as finely as a row holds numbers; in compiled code only."""
    raise NotImplementedError


@overload(activate, strict=False, inline="always")
def _activate(x: types.Type, row: types.Array) -> Function:
    del x
    if isinstance(row.dtype, types.Integer):
        return lambda x, row: gelu_coarse(x)
    return lambda x, row: gelu(x)


@inlined
def exp(x: np.float32) -> np.float32:
    """Return e^x for x <= 0, no less than 2^-126."""
    exponent = x * _LOG2_E
    exponent = _LEAST_EXPONENT if exponent < _LEAST_EXPONENT else exponent
    whole = np.floor(exponent + _HALF)
    r = exponent - whole
    power = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
    power *= np.int32((np.int32(whole) + _BIAS) << _FRACTION_BITS).view(np.float32)
    value: np.float32 = power
    return value


@compiled
def fill(value: np.float32, out: Floats) -> None:
    """Set a row to a value."""
    for i in range(len(out)):
        out[i] = value


@compiled
def copy(values: Floats, out: Floats) -> None:
    """Copy a row."""
    for i in range(len(out)):
        out[i] = values[i]


@compiled
def multiply(factors: Floats, out: Floats) -> None:
    """Multiply a row with another."""
    for i in range(len(out)):
        out[i] *= factors[i]


@compiled
def add_multiplied(first: Floats, second: Floats, out: Floats) -> None:
    """Add the product of two rows to a row."""
    for i in range(len(out)):
        out[i] += first[i] * second[i]


@compiled
def keep_largest(values: Floats, out: Floats) -> None:
    """Set a row to the larger of it and another."""
    for i in range(len(out)):
        out[i] = out[i] if out[i] > values[i] else values[i]


@compiled
def largest(values: Floats, spare: Floats) -> np.float32:
    """Return the largest number of a row that has no NaN; spare is memory for 64 or all of them."""
    lanes = min(64, len(values))
    found = spare[:lanes]
    copy(values[:lanes], found)
    for start in range(lanes, len(values), lanes):
        part = values[start : start + lanes]
        keep_largest(part, found[: len(part)])
    top: np.float32 = found[0]
    for i in range(lanes):
        top = max(top, found[i])
    return top
