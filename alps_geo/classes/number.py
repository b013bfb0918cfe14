"""How many classes there are: as many as come out again, or as a mixture of Gaussians needs.

Both ways look at a bounded sample of segments, drawn by how much each counts, in few columns of the
class model's space. They say how sure they are, and keep the whole curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from ..progress import NoProgress, Progress
from .clustering import nearest, seed_centers
from .mixture import fit_mixture
from .sampling import Rows, Weighted

#: Numbers that are tried, about a quarter apart.
NUMBERS = (3, 4, 5, 6, 8, 10, 12, 15, 19, 24, 31, 40)
#: Segments that are looked at, and columns of the sample's space.
SAMPLE, COLUMNS = 4000, 16
#: With fewer segments, nothing can be said.
FEWEST = 100
#: Pairs of halves that are clustered, of the segments and of shuffled ones.
_PAIRS, _SHUFFLED_PAIRS = 10, 4
#: How far below the best a number's agreement may be: a third of the best, or three times what the
#: best lacks to 1, whichever is less. So a number that comes out clearly is kept; where there is no
#: bend, as on the benchmark's scenes, two thirds of the best choose alike with other seeds.
_OF_BEST, _OF_LACK = 1 / 3, 3.0
#: Priors of the mixture: how round clusters are thought, the middle one counts.
_SCATTERS = (0.05, 0.5, 5.0)
_DRAWS = 200


@dataclass(frozen=True)
class Choice:
    """A number of classes, and why.

    Attributes
    ----------
    number : int
    method : str
    numbers : tuple of int, or of float
        What was tried: numbers of classes (`stability`), or scatters of the prior (`dp`).
    scores : tuple of float
        Agreement of each number, 0 by chance and 1 at most; or the clusters that each prior gives.
    shuffled : tuple of float
        Agreement of each number where there is nothing to find; only with `stability`.
    sure : float
        From 0 to 1: share of the draws of the pairs, or of the priors, that give about this number
        (within a fifth).
    """

    number: int
    method: str
    numbers: tuple[float, ...]
    scores: tuple[float, ...]
    shuffled: tuple[float, ...]
    sure: float

    def to_json(self) -> dict[str, Any]:
        """Return it as the record has it."""
        if self.method == "dp":
            curve: dict[str, Any] = {
                "scatters": list(self.numbers),
                "found": list(map(int, self.scores)),
            }
        else:
            curve = {
                "k": list(self.numbers),
                "score": [round(score, 4) for score in self.scores],
                "shuffled": [round(score, 4) for score in self.shuffled],
            }
        chosen = {"chosen": self.number, "sure": round(self.sure, 3)}
        return {"method": self.method, **curve, **chosen}


def choose_number(
    sample: Weighted, method: str, seed: int, progress: Progress | None = None
) -> Choice:
    """Choose the number of classes.

    Parameters
    ----------
    sample : Weighted
        Segments in the class model's space, `FEWEST` or more that differ.
    method : str
        `stability` or `dp`.
    seed : int
    progress : Progress, optional
        Is told of every number, or prior, that is tried.

    Returns
    -------
    Choice
    """
    rows = reduce_rows(draw_sample(sample, seed))
    choose: Callable[[Rows, int, Progress], Choice] = {
        "stability": by_stability,
        "dp": by_mixture,
    }[method]
    return choose(rows, seed, progress or NoProgress())


def draw_sample(sample: Weighted, seed: int) -> Rows:
    """Draw segments by how much each counts; they count alike afterwards."""
    rng = np.random.default_rng(seed)
    size = min(SAMPLE, len(sample))
    # The largest of these keys are a draw without replacement (Efraimidis and Spirakis 2006).
    keys = np.log(1 - rng.random(len(sample))) / sample.weights
    chosen = np.sort(np.argsort(-keys, kind="stable")[:size])
    return np.asarray(sample.rows[chosen], np.float64)


def reduce_rows(rows: Rows, columns: int = COLUMNS) -> Rows:
    """Return the first principal components, divided by one deviation for all.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_rows, n_columns)
    columns : int
        Components at most.
    """
    if not rows.std(axis=0).any():
        return np.zeros((len(rows), 1))
    reduced = PCA(min(columns, *rows.shape), svd_solver="full").fit_transform(rows)
    return np.asarray(reduced / reduced.std(), np.float64)


def by_stability(rows: Rows, seed: int, progress: Progress) -> Choice:
    """Choose the largest number of clusters that come out again nearly as well as the best.

    Two halves of the sample are clustered, and both clusterings are applied to all of it: the
    adjusted Rand index, 0 by chance, tells how far they agree. Chosen is the largest number whose
    agreement is near the best (two thirds of it; nearer, the clearer the best is), and above that
    of rows with each column shuffled on its own, where there is nothing to find. Where none is
    above that, the smallest is chosen.
    """
    most = min(len(rows) // 10, len(np.unique(rows, axis=0)) - 1)
    tried = tuple(number for number in NUMBERS if number <= most)
    if not tried:
        return Choice(2, "stability", (), (), (), 0.0)
    rng = np.random.default_rng(seed)
    pairs = [rng.permutation(len(rows)) for _ in range(_PAIRS)]
    others = [
        (np.stack([rng.permutation(column) for column in rows.T], axis=1), pair)
        for pair in pairs[:_SHUFFLED_PAIRS]
    ]
    found, chance = np.zeros((_PAIRS, len(tried))), np.zeros(len(tried))
    for place, number in enumerate(tried):
        found[:, place] = [_agreement(rows, pair, number) for pair in pairs]
        chance[place] = np.mean([_agreement(*other, number) for other in others])
        progress.step(place + 1, len(tried))
    scores = found.mean(axis=0)
    number = tried[_largest_as_good(scores, chance)]
    draws = rng.integers(0, _PAIRS, (_DRAWS, _PAIRS))
    drawn = [tried[_largest_as_good(found[draw].mean(axis=0), chance)] for draw in draws]
    sure = float(np.mean(_is_about(np.array(drawn), number)))
    if not (scores > chance).any():
        sure = 0.0
    return Choice(number, "stability", tried, tuple(scores.tolist()), tuple(chance.tolist()), sure)


def _agreement(rows: Rows, order: NDArray[np.integer], number: int) -> float:
    """Return how far clusterings of two halves agree on all rows."""
    middle = len(rows) // 2
    first, second = (
        nearest(rows, seed_centers(rows[half], number, 0, starts=2))
        for half in (order[:middle], order[middle:])
    )
    return float(adjusted_rand_score(first, second))


def _largest_as_good(scores: Rows, chance: Rows) -> int:
    best = float(scores.max())
    least = best - min(_OF_BEST * best, _OF_LACK * (1 - best))
    good = np.flatnonzero((scores >= least - 1e-9) & (scores > chance))
    return int(good[-1]) if len(good) else 0


def by_mixture(rows: Rows, seed: int, progress: Progress) -> Choice:
    """Choose the number of Gaussian clusters that a Dirichlet process finds."""
    sizes = []
    for place, scatter in enumerate(_SCATTERS):
        found = fit_mixture(rows, psi_scale=scatter, seed=seed, max_clusters=len(rows) // 20)
        sizes.append(found.size)
        progress.step(place + 1, len(_SCATTERS))
    number = sizes[_SCATTERS.index(0.5)]
    sure = float(np.mean(_is_about(np.array(sizes), number)))
    return Choice(max(number, 2), "dp", _SCATTERS, tuple(map(float, sizes)), (), sure)


def _is_about(numbers: NDArray[np.integer], number: int) -> NDArray[np.bool_]:
    return np.asarray(np.abs(numbers - number) <= 0.2 * number + 0.5)
