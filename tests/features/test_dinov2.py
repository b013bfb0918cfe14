"""DINOv2: what timm makes of Meta's tensors, and features that do not depend on how one tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.nn import functional

import alps_geo
from alps_geo.cli.main import cli
from alps_geo.errors import ModelError
from alps_geo.features.dinov2 import DinoSource
from alps_geo.features.sources import TileView
from alps_geo.models import weights
from alps_geo.models.dinov2 import PATCH, SIDE, DinoV2, recognise
from alps_geo.models.masks import Embedding
from alps_geo.scenes.grid import Window
from alps_geo.scenes.scene import Scene, open_scene
from alps_geo.scenes.spans import Spans
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.segments.table import load_segments
from alps_geo.settings import SceneSettings

from ..conftest import SceneFactory, draw_landscape

pytest.importorskip("timm", reason="the extra dinov2 is not installed")

WIDTH, DEPTH, HEADS = 384, 12, 6


def meta_tensors(*, registers: int = 0) -> dict[str, Tensor]:
    """Return random weights, by the names in Meta's files."""
    seeded = torch.Generator().manual_seed(7)

    def some(*shape: int, scale: float = 0.05) -> Tensor:
        return torch.randn(shape, generator=seeded) * scale

    tensors = {
        "cls_token": some(1, 1, WIDTH), "mask_token": some(1, WIDTH),
        "pos_embed": some(1, (SIDE // PATCH) ** 2 + 1, WIDTH),
        "patch_embed.proj.weight": some(WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": some(WIDTH),
        "norm.weight": 1 + some(WIDTH), "norm.bias": some(WIDTH),
    }  # fmt: skip
    for block in range(DEPTH):
        for name, size in (
            ("norm1", ()), ("attn.qkv", (3 * WIDTH, WIDTH)), ("attn.proj", (WIDTH, WIDTH)),
            ("norm2", ()), ("mlp.fc1", (4 * WIDTH, WIDTH)), ("mlp.fc2", (WIDTH, 4 * WIDTH)),
        ):  # fmt: skip
            weight = some(*size) if size else 1 + some(WIDTH)
            tensors[f"blocks.{block}.{name}.weight"] = weight
            tensors[f"blocks.{block}.{name}.bias"] = some(size[0] if size else WIDTH)
        for name in ("ls1", "ls2"):
            tensors[f"blocks.{block}.{name}.gamma"] = some(WIDTH, scale=0.5)
    if registers:
        tensors["register_tokens"] = some(1, registers, WIDTH)
    return tensors


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write seeded weights in Meta's form."""
    path = tmp_path_factory.mktemp("weights") / "dinov2.pth"
    torch.save(meta_tensors(), path)
    return path


@pytest.fixture
def installed(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Install the seeded weights in a folder of their own."""
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    return weights.add(checkpoint).path


def reference(tensors: dict[str, Tensor], image: Tensor) -> Tensor:
    """Return the tokens of an image by the definition, shape (n_tokens, width)."""

    def layer(name: str, tokens: Tensor) -> Tensor:
        return tokens @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(name: str, tokens: Tensor) -> Tensor:
        spread = (tokens.var(1, correction=0, keepdim=True) + 1e-6).sqrt()
        scaled = (tokens - tokens.mean(1, keepdim=True)) / spread
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    patches = functional.unfold(image[None], PATCH, stride=PATCH)[0].T
    kernel = tensors["patch_embed.proj.weight"].reshape(WIDTH, -1)
    tokens = torch.cat(
        [tensors["cls_token"][0], patches @ kernel.T + tensors["patch_embed.proj.bias"]]
    )
    tokens = tokens + tensors["pos_embed"][0]
    for block in (f"blocks.{number}" for number in range(DEPTH)):
        heads = layer(f"{block}.attn.qkv", norm(f"{block}.norm1", tokens))
        query, key, value = heads.reshape(len(tokens), 3, HEADS, -1).permute(1, 2, 0, 3)
        share = (query @ key.mT / (WIDTH / HEADS) ** 0.5).softmax(2)
        seen = (share @ value).permute(1, 0, 2).reshape(len(tokens), WIDTH)
        tokens = tokens + tensors[f"{block}.ls1.gamma"] * layer(f"{block}.attn.proj", seen)
        inner = functional.gelu(layer(f"{block}.mlp.fc1", norm(f"{block}.norm2", tokens)))
        tokens = tokens + tensors[f"{block}.ls2.gamma"] * layer(f"{block}.mlp.fc2", inner)
    return norm("norm", tokens)[1:]


def test_tokens_are_those_of_the_definition(checkpoint: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, SIDE, SIDE), dtype=np.uint8)
    valid = np.ones((1, SIDE, SIDE), bool)
    valid[:, :100] = False
    network = DinoV2(checkpoint, "dinov2-s", torch.device("cpu"), "fp32")
    found = network.tokens(pixels, valid)[0]
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    image = (torch.from_numpy(pixels[0]).float() - mean) / std * torch.from_numpy(valid)
    expected = functional.normalize(reference(meta_tensors(), image), dim=1)
    assert np.allclose(found.reshape(WIDTH, -1).T, expected.numpy(), atol=2e-5)


def stretched(path: Path) -> Scene:
    scene = open_scene(str(path), SceneSettings())
    return scene.with_stretch(measure_stretch([scene]))


def view(scene: Scene, window: Window) -> TileView:
    pixels, valid = scene.read(window)
    nothing = Embedding(np.zeros((1, 1, 1), np.float32), 1, ("a",), np.ones(1, np.float32))
    return TileView(scene, window, pixels, valid, nothing)


def test_a_mask_has_the_same_features_in_every_tile_that_holds_it(
    installed: Path, make_scene: SceneFactory
) -> None:
    scene = stretched(make_scene(draw_landscape(420, 450)))
    source = DinoSource("dinov2-s", "cpu")
    rows = []
    for window in (Window(0, 0, 420, 450), Window(90, 101, 300, 340)):
        place = np.array([[row - window.row, 200 - window.col, 260 - window.col]
                          for row in range(150, 230)])  # fmt: skip
        spans = Spans(np.array([0, 80]), place.astype(np.int32))
        rows.append(source.describe(view(scene, window), spans))
    assert rows[0].values.shape == (1, WIDTH)
    assert rows[0].names[:2] == ("000", "001")
    assert np.allclose(rows[0].values, rows[1].values, atol=1e-5)


def test_a_run_stores_them_beside_other_blocks(
    installed: Path, make_scene: SceneFactory, tmp_path: Path
) -> None:
    scene = make_scene(draw_landscape(150, 150))
    out = tmp_path / "out"
    options = {"model": "builtin", "device": "cpu", "n_classes": 3}
    alps_geo.label(scene, out, features="texture+dinov2-s", **options)
    segments = load_segments(out / "run" / scene.stem)
    assert len(segments.feature_names) == 15 + WIDTH
    assert segments.feature_names[15] == "dinov2-s.000"
    assert np.isfinite(segments.features).all()


def test_weights_are_recognised_by_their_tensors() -> None:
    assert recognise(meta_tensors()) == "dinov2-s"
    assert recognise(meta_tensors(registers=4)) == ""
    assert recognise({"cls_token": torch.zeros(1)}) == ""


def test_weights_that_are_missing_or_no_dinov2_are_refused(
    make_scene: SceneFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    scene = make_scene(draw_landscape(80, 80))
    arguments = ["label", str(scene), "-o", str(tmp_path / "out"), "--model", "builtin"]
    result = CliRunner().invoke(cli, [*arguments, "--features", "texture+dinov2-b"])
    assert result.exit_code == 1
    assert "are not installed; run 'alps-geo models download dinov2-b'" in result.output
    assert "checkpoint" not in result.output
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, other)
    with pytest.raises(ModelError, match="does not hold dinov2-s"):
        DinoV2(other, "dinov2-s", torch.device("cpu"), "fp32")


def test_networks_for_features_are_no_mask_models(installed: Path) -> None:
    assert [item.name for item in weights.installed()] == ["dinov2-s"]
    assert weights.installed(weights.MASKS) == weights.runnable() == []
    result = CliRunner().invoke(cli, ["info", "scene.tif", "--model", "dinov2-s"])
    assert "there is no mask model 'dinov2-s'" in result.output
    assert "dinov2" not in result.output.split("known:")[1]
