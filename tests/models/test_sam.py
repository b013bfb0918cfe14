"""SAM as a mask model: what the pipeline gets, and how a model is chosen."""

import numpy as np
import pytest
import torch

from alps_geo._files import sha256_of
from alps_geo.errors import ModelError, SettingsError
from alps_geo.models import load_model, model_names, weights
from alps_geo.models.device import choose_weights, pick_device
from alps_geo.models.stream import BatchModel, segment_all
from alps_geo.settings import ModelSettings, SamSettings, Settings

from .sam_models import make_image, save_sam

LENIENT = SamSettings(
    points_per_side=6, pred_iou_thresh=0.0, stability_score_thresh=0.9, box_nms_thresh=1.0
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Keep the user's own weights out."""
    place = tmp_path / "weights"
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(place))
    return place


@pytest.fixture
def checkpoint(tmp_path):
    return save_sam(tmp_path / "seeded.pth")


def test_a_checkpoint_is_recognised_and_segments_a_tile(checkpoint, progress):
    model = load_model(
        Settings(model=ModelSettings(checkpoint=str(checkpoint)), sam=LENIENT), progress
    )
    assert model.name == "sam-vit-48x2"
    assert model.checksum == sha256_of(checkpoint)
    image = make_image(200, 120)
    masks, embedding = model.segment(image, np.ones(image.shape[:2], bool))
    assert len(masks) > 10
    assert masks.spans.values.max(axis=0)[0] < 200
    assert masks.spans.values.max(axis=0)[2] <= 120
    assert masks.points.max(axis=0).tolist() < [200, 120]
    # 200 pixels fill the input's 256; a cell is 16 of these.
    assert embedding.stride == 12.5
    assert embedding.values.shape == (64, 16, 10)
    assert embedding.values.dtype == np.float32
    assert embedding.names[:2] == ("sam_000", "sam_001")
    assert any("SAM runs on" in text for text in progress.messages)


def test_the_same_tile_gives_the_same_masks(checkpoint, progress):
    image = make_image(128, 128)
    valid = np.ones((128, 128), bool)
    spans = [
        load_model(Settings(model=ModelSettings(checkpoint=str(checkpoint)), sam=LENIENT), progress)
        .segment(image, valid)[0]
        .spans.values
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*spans)


def test_tiles_at_once_give_what_each_tile_alone_gives(checkpoint, progress):
    model = load_model(
        Settings(model=ModelSettings(checkpoint=str(checkpoint)), sam=LENIENT), progress
    )
    assert isinstance(model, BatchModel)
    tiles = [
        (make_image(90, width, seed=width), np.ones((90, width), bool)) for width in (90, 80, 70)
    ]
    for tile, (masks, embedding) in zip(tiles, segment_all(model, tiles), strict=True):
        alone, values = model.segment(*tile)
        assert len(masks) == len(alone)
        np.testing.assert_allclose(embedding.values, values.values, atol=1e-4)


def test_paper_features_come_from_the_authors_preprocessing(checkpoint, progress):
    image = make_image(256, 256)
    valid = np.ones((256, 256), bool)
    modes = {}
    for mode in ("corrected", "paper"):
        settings = ModelSettings(checkpoint=str(checkpoint), feature_mode=mode)
        model = load_model(Settings(model=settings, sam=LENIENT), progress)
        modes[mode] = (model.checksum, *model.segment(image, valid))
    assert modes["paper"][0] == f"{modes['corrected'][0]}+paper"
    np.testing.assert_array_equal(
        modes["paper"][1].spans.values, modes["corrected"][1].spans.values
    )
    assert not np.allclose(modes["paper"][2].values, modes["corrected"][2].values)


def test_auto_without_weights_is_the_builtin_model_and_says_how_to_get_sam(progress):
    assert load_model(Settings(model=ModelSettings()), progress).name == "builtin"
    assert progress.messages == [
        "no SAM checkpoint is installed: using the built-in mask model; for SAM run"
        " `download(sam-vit-b)`"
    ]


def test_auto_leaves_out_weights_whose_package_is_missing(folder, progress, monkeypatch):
    folder.mkdir()
    (folder / "mobile_sam.pt").write_bytes(b"weights")
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    assert load_model(Settings(model=ModelSettings()), progress).name == "builtin"
    assert progress.messages == [
        "mobile-sam is installed, but not the package timm that it needs (pip install timm):"
        " using the built-in mask model"
    ]
    with pytest.raises(ModelError, match="none of the SAM models installed can run"):
        choose_weights(None, torch.device("cpu"))
    (folder / weights.known_model("sam-vit-b").file).write_bytes(b"weights")
    chosen, _ = choose_weights(None, torch.device("cpu"))
    assert chosen.name == "sam-vit-b"


def test_auto_takes_installed_weights(folder, progress):
    folder.mkdir()
    save_sam(folder / "sam-vit-48x2.pth")
    assert load_model(Settings(model=ModelSettings(), sam=LENIENT), progress).name == "sam-vit-48x2"
    assert "sam-vit-48x2" in model_names()
    assert (
        load_model(Settings(model=ModelSettings(name="sam-vit-48x2"), sam=LENIENT), progress).name
        == "sam-vit-48x2"
    )


def test_builtin_takes_no_checkpoint(checkpoint, progress):
    settings = ModelSettings(name="builtin", checkpoint=str(checkpoint))
    with pytest.raises(SettingsError, match="`checkpoint` needs a SAM model"):
        load_model(Settings(model=settings), progress)


def test_unknown_names_are_refused_with_the_known_ones(progress):
    with pytest.raises(SettingsError, match=r"no mask model 'sam'; known: auto, builtin, .*vit-h"):
        load_model(Settings(model=ModelSettings(name="sam")), progress)


def test_weights_that_are_not_installed_are_named(progress):
    with pytest.raises(ModelError, match=r"run `download\(sam-vit-h\)`"):
        load_model(Settings(model=ModelSettings(name="sam-vit-h")), progress)


def test_a_checkpoint_of_another_model_is_refused(checkpoint, progress):
    settings = ModelSettings(name="sam-vit-b", checkpoint=str(checkpoint))
    with pytest.raises(ModelError, match=r"seeded\.pth holds sam-vit-48x2, not sam-vit-b"):
        load_model(Settings(model=settings), progress)


def spoil(path, how):
    content = path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "other file":
        path.write_text("no checkpoint")
    elif how == "missing":
        path.unlink()
    elif how == "code":
        torch.save({"a": print}, path)
    elif how == "no tensors":
        torch.save({"a": 1}, path)
    elif how == "other tensors":
        torch.save({"layer.weight": torch.zeros(2, 2)}, path)
    else:
        state = torch.load(path, weights_only=True)
        del state["mask_decoder.iou_token.weight"]
        torch.save(state, path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut short", "cannot be read as a checkpoint: it is damaged"),
        ("other file", "cannot be read as a checkpoint: it is damaged"),
        ("missing", "there is no checkpoint file"),
        ("code", "cannot be read as a checkpoint"),
        ("no tensors", "holds no table of tensors"),
        ("other tensors", "is not a SAM checkpoint that can be used here"),
        ("incomplete", "is not a whole sam-vit-48x2 checkpoint"),
    ],
    ids=lambda text: text if len(text) < 20 else "",
)
def test_files_that_are_no_checkpoint_are_refused_by_name(checkpoint, progress, how, message):
    spoil(checkpoint, how)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(Settings(model=ModelSettings(checkpoint=str(checkpoint))), progress)
    assert "seeded.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device):
    available = torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()
    if available:
        pytest.skip(f"{device} is there")
    with pytest.raises(ModelError, match=f"`device={device}`: torch .* use `device=auto`"):
        pick_device(device)


def test_the_device_that_was_picked_is_said():
    device, reason = pick_device("auto")
    assert str(device) in reason


def test_a_cpu_gets_the_smallest_installed_model(folder):
    folder.mkdir()
    for known in weights.KNOWN[1:]:
        (folder / known.file).write_bytes(b"weights")
    chosen, reason = choose_weights(None, torch.device("cpu"))
    assert chosen.name == "sam-vit-b"
    assert reason == "using sam-vit-b, the smallest SAM model installed"


def test_a_gpu_gets_the_largest_model_it_has_room_for(folder, monkeypatch):
    folder.mkdir()
    for known in weights.KNOWN[1:]:
        with (folder / known.file).open("wb") as file:
            file.truncate(known.size)
    free = {"bytes": 40 << 30}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free["bytes"], 80 << 30))
    chosen, reason = choose_weights(None, torch.device("cuda"))
    assert (chosen.name, reason) == (
        "sam-vit-h",
        "using sam-vit-h, the largest SAM model installed",
    )
    free["bytes"] = 3 << 30
    chosen, reason = choose_weights(None, torch.device("cuda"))
    assert chosen.name == "sam-vit-l"
    assert "sam-vit-h needs 3.9 GiB of GPU memory, 3.0 GiB are free" in reason
