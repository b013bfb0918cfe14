"""Blocks of features: which a run has, how they go together, and who refuses which."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import alps_geo
from alps_geo.classes.model import ClassModel
from alps_geo.classes.schema import FeatureBlock, FeatureSchema
from alps_geo.errors import ModelError, RunError, SettingsError
from alps_geo.features.choosing import choose_sources
from alps_geo.features.pooling import Features
from alps_geo.features.sources import EmbeddingSource, TileView, describe_masks
from alps_geo.models.builtin.model import BuiltinModel
from alps_geo.models.fake import FakeModel
from alps_geo.scenes.grid import Window
from alps_geo.scenes.scene import open_scene
from alps_geo.scenes.spans import Spans
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.segments.table import load_segments
from alps_geo.settings import ModelSettings, SceneSettings

from ..conftest import SceneFactory, draw_landscape

SMALL = {"tile_size": 128, "overlap": 64, "model": "builtin", "n_classes": 4}


class NamedModel(FakeModel):
    """A mask model by another name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    @property
    def name(self) -> str:
        return self._name


class Ones:
    """A source of two columns of ones."""

    name, checksum = "ones", "1"

    def describe(self, tile: TileView, spans: Spans) -> Features:
        return Features(
            np.ones((len(spans), 2), np.float32), ("a", "b"), np.array([3, 4], np.float32)
        )


def names(model: str, features: str = "auto") -> list[str]:
    settings = ModelSettings(features=features)
    return [source.name for source in choose_sources(settings, NamedModel(model), [])]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("builtin", ["texture", "cnn"]), ("sam-vit-b", ["sam"]), ("mobile-sam", ["sam"]),
        ("mine", ["mine"]),
    ],
)  # fmt: skip
def test_auto_has_the_network_beside_the_built_in_model_only(
    model: str, expected: list[str]
) -> None:
    assert names(model) == expected


def test_blocks_come_in_one_order_however_they_are_named() -> None:
    assert names("builtin", "cnn+texture") == names("builtin", "texture+cnn")
    assert names("sam-vit-b", "cnn+sam+texture") == ["texture", "sam", "cnn"]
    assert names("builtin", "cnn") == ["cnn"]


def test_classes_with_features_of_a_later_version_are_refused_by_their_name() -> None:
    model = NamedModel("builtin")
    later = (FeatureBlock("texture", model.checksum), FeatureBlock("later", "1"))
    with pytest.raises(SettingsError, match="no features 'later'; known: texture, sam, cnn"):
        choose_sources(ModelSettings(), model, [], present=later)


def test_the_embedding_of_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"`features` 'sam\+cnn' needs SAM.* is 'builtin'"):
        names("builtin", "sam+cnn")


def view(make_scene: SceneFactory) -> TileView:
    scene = open_scene(str(make_scene(draw_landscape(96, 128))), SceneSettings(stretch="none"))
    scene = scene.with_stretch(measure_stretch([scene]))
    window = Window(0, 0, 96, 128)
    pixels, valid = scene.read(window)
    return TileView(scene, window, pixels, valid, FakeModel().segment(pixels, valid)[1])


def test_every_block_weighs_as_much_as_the_first_and_is_in_its_columns_names(
    make_scene: SceneFactory,
) -> None:
    tile = view(make_scene)
    spans = Spans.from_bitmaps(tile.valid[np.newaxis])
    features = describe_masks([EmbeddingSource(FakeModel()), Ones()], tile, spans)
    assert features.names == ("red", "green", "blue", "ones.a", "ones.b")
    squares = np.square(features.weights)
    assert squares[3:].sum() == pytest.approx(squares[:3].sum())
    assert features.weights[4] / features.weights[3] == pytest.approx(4 / 3)
    assert (features.weights[:3] == 1).all()
    assert features.values[:, 3:].tolist() == [[1, 1]]


def test_texture_is_the_built_in_models_under_the_masks_of_any_other(
    make_scene: SceneFactory,
) -> None:
    tile = view(make_scene)
    spans = Spans.from_bitmaps(tile.valid[np.newaxis])
    (source,) = choose_sources(ModelSettings(features="texture"), NamedModel("sam-vit-b"), [])
    embedding = BuiltinModel().segment(tile.pixels, tile.valid)[1]
    mine = TileView(tile.scene, tile.window, tile.pixels, tile.valid, embedding)
    expected = EmbeddingSource(BuiltinModel()).describe(mine, spans)
    assert (source.describe(tile, spans).values == expected.values).all()
    assert source.checksum == BuiltinModel().checksum


def schema(*blocks: FeatureBlock) -> FeatureSchema:
    return FeatureSchema("builtin", "c", ("a", "b"), np.ones(2, np.float32), {}, blocks)


def fitted(*blocks: FeatureBlock) -> ClassModel:
    rows: NDArray[np.float32] = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    return ClassModel(3, schema=schema(*blocks)).fit([rows])


def test_a_class_model_remembers_its_blocks_and_refuses_others_by_name(tmp_path: Path) -> None:
    both = FeatureBlock("texture", "c"), FeatureBlock("cnn", "1")
    fitted(*both).save(tmp_path / "classes.safetensors")
    known = ClassModel.load(tmp_path).schema
    assert known.blocks == both
    known.require(both)
    with pytest.raises(ModelError, match=r"features 'texture\+cnn', not 'texture'; label with"):
        known.require(both[:1])
    with pytest.raises(ModelError, match="another version of the features 'cnn'"):
        known.require((both[0], FeatureBlock("cnn", "2")))


def test_files_of_models_with_the_mask_models_own_features_are_as_ever(tmp_path: Path) -> None:
    fitted().save(tmp_path / "none.safetensors")
    fitted(FeatureBlock("texture", "c")).save(tmp_path / "own.safetensors")
    content = (tmp_path / "own.safetensors").read_bytes()
    assert content == (tmp_path / "none.safetensors").read_bytes()
    assert b"blocks" not in content
    loaded = ClassModel.load(tmp_path / "own.safetensors")
    assert loaded.schema.blocks == (FeatureBlock("texture", "c"),)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a drawn scene."""
    import rasterio

    path = tmp_path_factory.mktemp("scene") / "land.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=160, width=200, dtype="uint8",
        crs="EPSG:32640", transform=rasterio.Affine(2, 0, 320000, 0, -2, 2780000),
    ) as file:  # fmt: skip
        file.write(draw_landscape(160, 200).transpose(2, 0, 1))
    return path


@pytest.fixture(scope="module")
def textured(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label the scene as versions did that knew no other features."""
    out = tmp_path_factory.mktemp("runs") / "texture"
    alps_geo.label(scene, out, features="texture", **SMALL)
    return out


@pytest.fixture(scope="module")
def learned(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label the scene as it is by default."""
    out = tmp_path_factory.mktemp("runs") / "both"
    alps_geo.label(scene, out, **SMALL)
    return out


def columns(out: Path) -> tuple[str, ...]:
    return load_segments(out / "run" / "land").feature_names


def test_a_run_stores_every_block_for_every_segment(learned: Path, textured: Path) -> None:
    ours, theirs = (load_segments(out / "run" / "land") for out in (learned, textured))
    assert ours.feature_names[:15] == theirs.feature_names
    assert [name[:4] for name in ours.feature_names[15:]] == ["cnn."] * 48
    assert (ours.features[:, :15] == theirs.features).all()
    assert np.isfinite(ours.features).all()
    record = json.loads((learned / "run.json").read_text())
    assert [block["name"] for block in record["features"]] == ["texture", "cnn"]
    blocks = ClassModel.load(learned).schema.blocks
    assert [block.name for block in blocks] == ["texture", "cnn"]


def test_a_run_of_a_version_that_knew_no_blocks_goes_on_with_its_own(
    scene: Path, textured: Path
) -> None:
    manifest = json.loads((textured / "run" / "manifest.json").read_text())
    assert "features" not in manifest
    alps_geo.label(scene, textured, **SMALL)  # finished: nothing to do
    assert len(columns(textured)) == 15


def test_a_run_with_other_features_than_those_asked_for_is_refused(
    scene: Path, textured: Path, learned: Path
) -> None:
    for out, features in ((textured, "texture+cnn"), (learned, "texture")):
        with pytest.raises(RunError, match=r"holds another run \(features is"):
            alps_geo.label(scene, out, features=features, **SMALL)


def test_classes_that_are_applied_say_which_features_a_new_run_has(
    scene: Path, textured: Path, tmp_path: Path
) -> None:
    alps_geo.label(scene, tmp_path / "new", classes=textured, **SMALL)
    assert len(columns(tmp_path / "new")) == 15
    labels = [(out / "labels.tif").read_bytes() for out in (textured, tmp_path / "new")]
    assert labels[0] == labels[1]


def test_classes_of_other_features_are_refused_with_the_remedy(
    scene: Path, textured: Path, learned: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"label with `features=texture\+cnn`"):
        alps_geo.label(scene, tmp_path / "new", classes=learned, features="texture", **SMALL)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ModelError, match=r"features 'texture', not 'texture\+cnn'"):
        alps_geo.classify(learned, classes=textured)
    with pytest.raises(ModelError, match=r"features 'texture\+cnn', not 'texture'"):
        alps_geo.info(scene, classes=learned, features="texture", model="builtin")
