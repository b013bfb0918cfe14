"""MobileSAM: the official checkpoint's names find their places in timm's TinyViT."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from alps_geo.models import weights
from alps_geo.models.sam.checkpoint import assemble, load_sam, read_state, recognise
from alps_geo.models.sam.mobile import TinySizes
from alps_geo.models.sam.model import MaskGenerator

from .sam_models import SMALL, make_image

pytest.importorskip("timm", reason="MobileSAM needs timm")
# timm's own: it asks torch for scripting that newer versions no longer recommend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SIZES = TinySizes((16, 32, 32, 64), (1, 1, 1, 1), (1, 2, 2, 4), (1, 7, 14, 7), 64)


def official_names(state):
    """Undo `mobile.rename`, independently of it: names as in mobile_sam.pt."""
    named = {}
    for key, value in state.items():
        name = key
        if key.startswith("image_encoder."):
            name = name.replace("patch_embed.conv1.", "patch_embed.seq.0.")
            name = name.replace("patch_embed.conv2.", "patch_embed.seq.2.")
            name = name.replace(".conv.weight", ".c.weight")
            name = name.replace("stages.", "layers.")
            name = re.sub(
                r"layers\.(\d)\.downsample",
                lambda match: f"layers.{int(match[1]) - 1}.downsample",
                name,
            )
        named[name] = value
    named["image_encoder.norm_head.weight"] = torch.ones(SIZES.widths[-1])
    named["image_encoder.head.weight"] = torch.ones(10, SIZES.widths[-1])
    return named


@pytest.fixture(scope="module")
def mobile():
    torch.manual_seed(0)
    sam = assemble(replace(SMALL, image_size=1024, tiny=SIZES)).eval()
    with torch.no_grad():
        for values in sam.parameters():
            values.add_(torch.randn_like(values) * 0.05)
    return sam.requires_grad_(False)


@pytest.fixture
def checkpoint(mobile, tmp_path):
    path = tmp_path / "mobile.pt"
    torch.save(official_names(mobile.state_dict()), path)
    return path


def test_the_architecture_is_read_from_the_tensors(checkpoint):
    found = recognise(read_state(checkpoint), checkpoint)
    assert found.tiny == SIZES
    assert found.name == "mobile-sam-64x4"


def test_the_official_names_give_the_same_embedding(mobile, checkpoint):
    images = torch.randn(1, 3, 1024, 1024)
    loaded, _ = load_sam(checkpoint)
    with torch.inference_mode():
        embedding = mobile.image_encoder(images)
        assert embedding.shape == (1, 64, 64, 64)
        torch.testing.assert_close(loaded.image_encoder(images), embedding)


def test_the_generator_gives_the_originals_masks(mobile):
    from segment_anything import SamAutomaticMaskGenerator

    options = {
        "points_per_side": 2,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
    }
    image = make_image(300, 400)
    original = SamAutomaticMaskGenerator(mobile, points_per_batch=2, **options).generate(image)
    ours = MaskGenerator(mobile, **options).generate(image)
    assert len(ours) == len(original) > 3
    differing = [
        np.count_nonzero(mine["segmentation"] != theirs["segmentation"])
        for mine, theirs in zip(ours, original, strict=True)
    ]
    assert max(differing) <= 20
    assert [record["bbox"] for record in ours] == [record["bbox"] for record in original]


def test_it_can_be_added_to_the_installed_weights(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    assert weights.add(checkpoint).name == "mobile-sam-64x4"
    assert weights.find("mobile-sam-64x4") is not None
