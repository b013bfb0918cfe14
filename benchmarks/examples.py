"""Classes from a few clicks: which classifier, beside pixel classifiers and the clustering.

    python benchmarks/examples.py [--runs DIR] [--scenes NAME …] [--clicks 1 3 5 10] [--seeds 6]
    python benchmarks/examples.py --part suggest | transfer | scale

Scenes are labelled once with the default settings, into DIR if it is named; from then on only the
stored features and the truth count. A click is on a pixel of the class drawn by chance, in a pure
segment (64 pixels or more, 90 % of one class): so large segments are clicked more often.

clicks    mean IoU / accuracy of classifiers on the same clicks, all on whitened features; of pixel
          classifiers (what SCP or dzetsaka do) that get all pixels under the clicked segments, or
          a disc of 3 pixels' radius round the click; and of k-means with 16 classes, each named by
          the class that most of its pixels have, which is the truth of the whole scene.
          Also the mean confidence of ours beside its accuracy.
suggest   mean IoU after 10, 20, 40 and 60 labelled segments: suggested (20 from nothing, then with
          the examples so far), drawn by chance, and drawn by area. Each gets its majority class.
transfer  classes from 10 clicks per class in one scene applied to another, beside clicks there; the
          share of segments beyond the spread of the training scene, and drift of each block.
scale     time of learning and applying to 100,000 segments.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from features import count_classes
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import alps_geo
from alps_geo.classes.clustering import nearest
from alps_geo.classes.example_model import ExampleModel, learn_classes
from alps_geo.classes.examples import Examples
from alps_geo.classes.model import ClassModel
from alps_geo.classes.novelty import Drift
from alps_geo.classes.suggestion import choose_doubtful, choose_typical
from alps_geo.run.run import find_schema

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
SCENES = ("dubai_tile2", "dubai_tile5", "kampala_drone", "zion_landsat8")
IGNORED = 255
#: Ours at 5 clicks should be as good as each of the others this many times.
GOAL = 1.10
#: Pixels that pixel classifiers are scored on, and learn from per class.
SCORED, LEARNED = 20_000, 400
Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """A labelled scene with its truth: pixels of each class, a row per segment."""

    name: str
    folder: Path
    run: alps_geo.Run
    features: NDArray[np.float32]
    area_px: NDArray[np.int64]
    segment_id: NDArray[np.int64]
    table: NDArray[np.int64]
    missed: NDArray[np.int64]
    ground: ClassModel

    @property
    def majority(self) -> NDArray[np.int64]:
        """The class that most pixels of each segment have."""
        return self.table.argmax(axis=1)

    def examples(self, rows: NDArray[np.int64], classes: NDArray[np.int64]) -> Examples:
        """Return segments as examples."""
        names = np.array([f"{number:03}" for number in classes.tolist()])
        return Examples(self.features[rows], self.area_px[rows], names)

    def everything(self) -> Examples:
        """Return all segments."""
        return self.examples(np.arange(len(self.features)), np.zeros(len(self.features), int))

    def score(self, classes: NDArray[np.int64]) -> Scores:
        """Return mean IoU and accuracy of a class per segment."""
        size = self.table.shape[1]
        confusion = np.zeros((size + 1, size), np.int64)
        np.add.at(confusion, classes, self.table)
        return score(confusion[:size], self.missed + confusion[size])


def score(confusion: NDArray[np.int64], missed: NDArray[np.int64]) -> Scores:
    """Return mean IoU and accuracy; rows are what was found, columns what is true."""
    right = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) + missed - right
    return np.array(
        [(right / np.maximum(union, 1)).mean(), right.sum() / (confusion.sum() + missed.sum())]
    )


def load(data: Path, runs: Path, name: str) -> Labelled:
    """Label a scene unless that was done, and count the truth of its segments."""
    folder, out = data / name, runs / name
    if not (out / "run.json").exists():
        alps_geo.label(folder / "image.tif", out, progress=False)
    run = alps_geo.open(out)
    segments = run.parts[0].load_segments()
    with rasterio.open(folder / "labels.tif") as file:
        table = count_classes(run, file.read(1))
    mine = table[segments.segment_id]
    features = np.asarray(segments.features)
    ground = ClassModel(16, schema=find_schema(run, [segments]))
    ground.fit(features, sample_weight=segments.area_px)
    missed = table.sum(axis=0) - mine.sum(axis=0)
    number = segments.segment_id.astype(np.int64)
    return Labelled(name, folder, run, features, segments.area_px, number, mine, missed, ground)


def draw_clicks(
    scene: Labelled, number: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return clicked segments and their classes; fewer where there are not so many pure ones."""
    known = scene.table.sum(axis=1)
    pure = (known * 2 >= scene.area_px) & (scene.table.max(axis=1) >= 0.9 * known)
    pure &= scene.area_px >= 64
    rng, rows = np.random.default_rng(seed), []
    for category in range(scene.table.shape[1]):
        mine = np.flatnonzero(pure & (scene.majority == category))
        if len(mine):
            chances = scene.area_px[mine] / scene.area_px[mine].sum()
            rows.append(rng.choice(mine, min(number, len(mine)), replace=False, p=chances))
    found = np.concatenate(rows)
    return found, scene.majority[found]


def classifiers(width: float) -> dict[str, Callable[[], object]]:
    """Return ways to learn; `width` is the variance of a column of the rows."""

    def svm() -> SVC:
        """RBF-SVM with a wide kernel, the best of three widths on these scenes."""
        return SVC(C=10, gamma=0.3 / width, class_weight="balanced", probability=False)

    def lda() -> LinearDiscriminantAnalysis:
        """Discriminant analysis with a shrunk covariance."""
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)

    def trees() -> ExtraTreesClassifier:
        """Extremely randomised trees."""
        return ExtraTreesClassifier(100, class_weight="balanced", random_state=0)

    def logistic() -> LogisticRegression:
        """Ours without calibration and the shares of classes."""
        return LogisticRegression(C=0.3, class_weight="balanced", max_iter=1000)

    def vote() -> VotingClassifier:
        """Trees, discriminant analysis and logistic regression, their probabilities averaged."""
        parts = [("lda", lda()), ("trees", trees()), ("logistic", logistic())]
        return VotingClassifier(parts, voting="soft")

    return {"svm": svm, "trees": trees, "lda": lda, "vote": vote, "logistic": logistic}


def score_clicks(scene: Labelled, number: int, seed: int) -> dict[str, Scores]:
    """Return what each way makes of the same clicks."""
    rows, classes = draw_clicks(scene, number, seed)
    white = scene.ground.whiten(scene.features)
    found: dict[str, Scores] = {}
    for name, make in classifiers(white.var() * white.shape[1]).items():
        model = make()
        # Discriminant analysis of one example each has no scatter to measure, nor takes weights.
        if len(rows) > len(np.unique(classes)) or name not in ("lda", "vote"):
            found[name] = scene.score(model.fit(white[rows], classes).predict(white))
        else:
            found[name] = np.full(2, np.nan)
    means = np.array([white[rows[classes == each]].mean(axis=0) for each in np.unique(classes)])
    found["prototype"] = scene.score(np.unique(classes)[nearest(white, means)])
    model = learn(scene, rows, classes)
    prediction = model.assign(scene.features)
    found["ours"] = scene.score(as_classes(model, prediction.class_id))
    pixels = scene.table.sum(axis=1)
    confidence = float(pixels @ prediction.confidence / pixels.sum())
    found["confidence"] = np.array([np.nan, confidence])
    return found


def learn(scene: Labelled, rows: NDArray[np.int64], classes: NDArray[np.int64]) -> ExampleModel:
    """Learn as `classify` does."""
    return learn_classes(scene.ground, scene.examples(rows, classes), scene.everything())


def as_classes(model: ClassModel, class_id: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the numbers of the truth for ids; unknown is the last."""
    lookup = np.full(model.legend_.size, -1)
    for number, name in model.names.items():
        lookup[number] = -1 if name == "unknown" else int(name)
    return lookup[class_id]


@lru_cache(maxsize=1)
def read_pixels(scene: Labelled) -> tuple[NDArray[np.generic], ...]:
    """Return values, truth, pixels by segment, where each begins there, and the scene's width."""
    with rasterio.open(scene.folder / "image.tif") as file:
        image = file.read().astype(np.float32)
    with rasterio.open(scene.folder / "labels.tif") as file:
        truth = file.read(1).ravel()
    with rasterio.open(scene.run.parts[0].segment_raster.path) as file:
        segments = file.read(1)
    flat = segments.ravel()
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], scene.segment_id)
    return image.reshape(len(image), -1).T, truth, order, starts, segments.shape[1]


def score_pixels(scene: Labelled, number: int, seed: int) -> Iterator[tuple[str, Scores]]:
    """Yield what pixel classifiers make of the same clicks."""
    values, truth, order, starts, width = read_pixels(scene)
    height = len(values) // width
    names, known = np.unique(truth[truth != IGNORED]), np.flatnonzero(truth != IGNORED)
    rng = np.random.default_rng(seed)
    scored = rng.choice(known, min(SCORED, len(known)), replace=False)
    rows, classes = draw_clicks(scene, number, seed)
    under = {"segments": [], "disc": []}
    dy, dx = np.mgrid[-3:4, -3:4]
    disc = dy**2 + dx**2 <= 9
    for row in rows.tolist():
        mine = order[starts[row] : starts[row] + scene.area_px[row]]
        under["segments"].append(rng.permutation(mine)[:LEARNED])
        y, x = divmod(int(rng.choice(mine)), width)
        ys, xs = np.clip(y + dy[disc], 0, height - 1), np.clip(x + dx[disc], 0, width - 1)
        under["disc"].append(ys * width + xs)
    ways = {
        "svm": lambda: make_pipeline(StandardScaler(), SVC(C=10, class_weight="balanced")),
        "forest": lambda: RandomForestClassifier(
            100, class_weight="balanced", min_samples_leaf=2, random_state=0
        ),
        "likelihood": lambda: QuadraticDiscriminantAnalysis(reg_param=0.01),
    }
    for what, parts in under.items():
        labels = np.repeat(classes, [len(part) for part in parts])
        where = np.concatenate(parts)
        few = np.concatenate(
            [
                rng.permutation(np.flatnonzero(labels == each))[:LEARNED]
                for each in np.unique(labels)
            ]
        )
        for name, make in ways.items():
            found = make().fit(values[where[few]], labels[few]).predict(values[scored])
            confusion = np.zeros((len(names), len(names)), np.int64)
            np.add.at(confusion, (found, np.searchsorted(names, truth[scored])), 1)
            yield f"pixels {name} {what}", score(confusion, np.zeros(len(names), np.int64))


def score_clustering(scene: Labelled, seed: int) -> Scores:
    """Return what 16 pseudo-classes are worth when the whole truth names them."""
    model = ClassModel(16, seed, schema=scene.ground.schema)
    class_id = model.fit(scene.features, sample_weight=scene.area_px).predict(scene.features)
    confusion = np.zeros((16, scene.table.shape[1]), np.int64)
    np.add.at(confusion, class_id, scene.table)
    return scene.score(confusion.argmax(axis=1)[class_id])


def compare_clicks(scenes: list[Labelled], clicks: list[int], seeds: int) -> int:
    """Print a table per scene and one of means; fail where the goal is missed."""
    means: dict[str, list[Scores]] = {}
    for scene in scenes:
        found: dict[str, dict[int, list[Scores]]] = {}
        for number in clicks:
            for seed in range(seeds):
                every = {
                    **score_clicks(scene, number, seed),
                    **dict(score_pixels(scene, number, seed)),
                }
                for name, row in every.items():
                    found.setdefault(name, {}).setdefault(number, []).append(row)
        clustering = np.mean([score_clustering(scene, seed) for seed in range(seeds)], axis=0)
        for name, by_number in found.items():
            rows = np.array([np.mean(by_number[number], axis=0) for number in clicks])
            means.setdefault(name, []).append(rows)
            print_row(scene.name, name, rows)
        means.setdefault("clustering", []).append(np.tile(clustering, (len(clicks), 1)))
        print_row(scene.name, "clustering", means["clustering"][-1])
    table = {name: np.mean(rows, axis=0) for name, rows in means.items()}
    for name, rows in table.items():
        print_row("mean", name, rows)
    at = clicks.index(5) if 5 in clicks else -1
    others = {name: rows[at, 0] for name, rows in table.items() if name.startswith(("pix", "clus"))}
    best = max(others, key=lambda name: others[name])
    ratio = table["ours"][at, 0] / others[best]
    pixels = table["ours"][at, 0] / max(v for name, v in others.items() if name.startswith("pix"))
    print(f"ours over {best}: {ratio:.3f}, over the best of pixels: {pixels:.3f}; goal {GOAL}")
    return int(ratio < GOAL)


def compare_suggestions(scenes: list[Labelled], seeds: int) -> int:
    """Print mean IoU after so many labelled segments, suggested or drawn by chance."""
    steps = (10, 20, 40, 60)
    print(f"{'':14}{'way':12}" + "".join(f"{step:>8}" for step in steps))
    means: dict[str, list[Scores]] = {}
    for scene in scenes:
        for way in ("suggested", "by chance", "by area"):
            curves = [_curve(scene, way, steps, seed) for seed in range(seeds)]
            means.setdefault(way, []).append(np.mean(curves, axis=0))
            print(
                f"{scene.name:14}{way:12}" + "".join(f"{v:8.3f}" for v in means[way][-1]),
                flush=True,
            )
    for way, rows in means.items():
        print(f"{'mean':14}{way:12}" + "".join(f"{value:8.3f}" for value in np.mean(rows, axis=0)))
    return int(np.mean(means["suggested"], axis=0)[1] <= np.mean(means["by chance"], axis=0)[1])


def _curve(scene: Labelled, way: str, steps: tuple[int, ...], seed: int) -> list[float]:
    rng, total = np.random.default_rng(seed), max(steps)
    known = np.flatnonzero(scene.table.sum(axis=1) * 2 >= scene.area_px)
    white, area_px = scene.ground.whiten(scene.features[known]), scene.area_px[known]
    if way == "suggested":
        order = choose_typical(white, area_px, 20, seed).tolist()
    else:
        chances = None if way == "by chance" else area_px / area_px.sum()
        order = rng.choice(len(known), total, replace=False, p=chances).tolist()
    values = []
    for step in steps:
        while len(order) < step and len(np.unique(scene.majority[known[order]])) > 1:
            model = learn(scene, known[order], scene.majority[known[order]])
            ordered = np.sort(model.probabilities(scene.features[known]), axis=1)
            doubt = 1 - (ordered[:, -1] - ordered[:, -2])
            few = min(20, step - len(order))
            order += choose_doubtful(white, area_px, doubt, white[order], few).tolist()
        rows = known[order[:step]]
        if len(np.unique(scene.majority[rows])) == 1:  # all is of that class
            only = np.full(len(scene.features), scene.majority[rows[0]])
            values.append(float(scene.score(only)[0]))
            continue
        model = learn(scene, rows, scene.majority[rows])
        values.append(float(scene.score(as_classes(model, model.predict(scene.features)))[0]))
    return values


def compare_transfer(scenes: list[Labelled], seeds: int) -> int:
    """Print how classes of one scene do in another, and how unlike the two are."""
    print(f"{'from':14}{'to':14}{'mIoU':>8}{'there':>8}{'beyond':>8}  drift")
    for first in scenes:
        for second in scenes:
            alike = {first.name[:5], second.name[:5]} == {"dubai"}
            own, across = [], []
            for seed in range(seeds if alike else 0):
                model = learn(first, *draw_clicks(first, 10, seed))
                across.append(second.score(as_classes(model, model.predict(second.features)))[0])
                there = learn(second, *draw_clicks(second, 10, seed))
                own.append(second.score(as_classes(there, there.predict(second.features)))[0])
            ground = first.ground
            drift = Drift(ground.spread_)
            drift.add(ground.standardise(second.features))
            far = ground.spread_.is_beyond(ground.whiten(second.features))
            share = far.mean()
            values = [np.mean(each) if each else np.nan for each in (across, own)]
            print(
                f"{first.name:14}{second.name:14}{values[0]:8.3f}{values[1]:8.3f}{share:8.3f}"
                f"  {drift.by_block(ground.schema.names, ground.schema.blocks)}",
                flush=True,
            )
    return 0


def measure_scale(scene: Labelled, number: int = 100_000) -> int:
    """Time learning from examples among many segments: those of a scene again and again."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(scene.features), number)
    noise = rng.normal(0, 0.1, (number, scene.features.shape[1])) * scene.ground.scale_
    features, area_px = (scene.features[chosen] + noise).astype(np.float32), scene.area_px[chosen]
    examples = scene.examples(*draw_clicks(scene, 10, 0))
    began = time.perf_counter()
    few = rng.permutation(number)[:20_000]
    sample = Examples(features[few], area_px[few], np.full(len(few), ""))
    ground = ClassModel(16, schema=scene.ground.schema)
    ground.fit(sample.features, sample_weight=sample.area_px)
    fitted = time.perf_counter()
    model = learn_classes(ground, examples, sample)
    learned = time.perf_counter()
    model.assign(features)
    ended = time.perf_counter()
    print(
        f"{number:,} segments: pseudo-classes {fitted - began:.1f} s, learning"
        f" {learned - fitted:.1f} s, applying {ended - learned:.1f} s; goal 60 s in all"
    )
    return int(ended - began > 60)


def print_row(scene: str, name: str, rows: Scores) -> None:
    """Print mean IoU / accuracy for each number of clicks."""
    cells = "".join(f"  {first:.3f}/{second:.3f}" for first, second in rows)
    print(f"{scene:14}{name:26}{cells}", flush=True)


def main() -> int:
    """Run one part."""
    parser = argparse.ArgumentParser(description="Classes from a few clicks.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--runs", type=Path, help="folder of runs, made and kept")
    parser.add_argument("--scenes", nargs="+", default=list(SCENES))
    parser.add_argument("--clicks", nargs="+", type=int, default=[1, 3, 5, 10])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--part", default="clicks")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = given.runs or Path(temporary)
        scenes = [load(given.data, runs, name) for name in given.scenes]
        if given.part == "suggest":
            return compare_suggestions(scenes, given.seeds)
        if given.part == "transfer":
            return compare_transfer(scenes, given.seeds)
        if given.part == "scale":
            return measure_scale(scenes[0])
        return compare_clicks(scenes, given.clicks, given.seeds)


if __name__ == "__main__":
    raise SystemExit(main())
