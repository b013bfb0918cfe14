"""The fast mask generator against the original, on small models with random weights."""

import importlib.util

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator

from alps_geo.errors import ModelError, SettingsError
from alps_geo.models.sam.model import MaskGenerator

from .sam_models import LENIENT, make_image, make_sam

needs_cv2 = pytest.mark.skipif(
    importlib.util.find_spec("cv2") is None, reason="the original needs OpenCV for this"
)


@pytest.fixture(scope="module")
def sam():
    return make_sam()


def both(sam, image, **options):
    chosen = {**LENIENT, **options}
    original = SamAutomaticMaskGenerator(sam, **chosen).generate(image)
    return MaskGenerator(sam, **chosen).generate(image), original


def assert_same(ours, original):
    """Same masks in the same order; some may differ in a few of their pixels.

    With random weights masks are noise: outlines of ten thousand pixels, of which one or the
    other is as near to the threshold as floats can tell.
    """
    assert len(ours) == len(original) > 0
    differing = 0
    for mine, theirs in zip(ours, original, strict=True):
        assert mine.keys() == theirs.keys()
        assert [type(value) for value in mine.values()] == [type(v) for v in theirs.values()]
        for key in ("bbox", "point_coords", "crop_box"):
            assert mine[key] == theirs[key]
        for key in ("predicted_iou", "stability_score"):
            assert mine[key] == pytest.approx(theirs[key], abs=1e-4, nan_ok=True)
        pixels = np.count_nonzero(mine["segmentation"] != theirs["segmentation"])
        differing += pixels > 0
        assert pixels <= 3
    assert differing <= max(2, len(ours) // 20)


@pytest.mark.parametrize(
    "size",
    [(256, 256), (200, 150), (90, 400), (512, 512), (31, 33)],
    ids=lambda size: "x".join(map(str, size)),
)
def test_masks_are_the_originals_for_images_of_any_shape(sam, size):
    assert_same(*both(sam, make_image(*size)))


def test_masks_of_crops_are_the_originals(sam, monkeypatch):
    image = make_image(220, 300)
    # Masks of few pixels, so that some do not touch the border of their crop, which drops them.
    monkeypatch.setattr(sam, "mask_threshold", rare_logit(sam, image), raising=False)
    ours, original = both(
        sam,
        image,
        points_per_side=4,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
        stability_score_thresh=0.0,
    )
    assert len({tuple(record["crop_box"]) for record in ours}) > 1
    assert_same(ours, original)


def rare_logit(sam, image):
    generator = MaskGenerator(sam, **LENIENT)
    points = torch.tensor([[128.0, 128.0]])
    parts = generator.decoder.decode(generator.encode([image])[0], points, 0.0, 1)
    return float(torch.cat([part.logits for part in parts]).quantile(0.9995))


def test_duplicates_are_dropped_as_in_the_original(sam):
    assert_same(*both(sam, make_image(256, 256), box_nms_thresh=0.7))


def test_thresholds_are_the_originals(sam):
    image = make_image(256, 256)
    scores = [record["predicted_iou"] for record in both(sam, image)[1]]
    assert_same(*both(sam, image, pred_iou_thresh=float(np.median(scores)) + 1e-4))


def test_given_points_are_used_as_in_the_original(sam):
    points = [np.random.default_rng(0).random((17, 2))]
    assert_same(*both(sam, make_image(256, 200), points_per_side=None, point_grids=points))


def test_run_lengths_are_the_originals(sam):
    ours, original = both(sam, make_image(256, 200), output_mode="uncompressed_rle")
    same = [
        mine["segmentation"] == theirs["segmentation"]
        for mine, theirs in zip(ours, original, strict=True)
    ]
    assert np.mean(same) >= 0.98


@needs_cv2
def test_small_regions_are_removed_as_in_the_original(sam):
    assert_same(*both(sam, make_image(256, 256), min_mask_region_area=40))


def test_holes_are_filled_and_islands_dropped(sam):
    found = MaskGenerator(sam, **LENIENT, min_mask_region_area=40).generate(make_image(128, 128))
    from scipy import ndimage

    for record in found:
        for pixels in (record["segmentation"], ~record["segmentation"]):
            labels, count = ndimage.label(pixels, np.ones((3, 3)))
            sizes = np.bincount(labels.ravel())[1:]
            assert count <= 1 or sizes.min() >= 40 or pixels is not record["segmentation"]


def test_no_masks_are_an_empty_list(sam):
    assert (
        MaskGenerator(sam, stability_score_thresh=1.0, pred_iou_thresh=9.0).generate(
            make_image(64, 64)
        )
        == []
    )


def test_the_embedding_comes_with_the_masks_and_may_be_given(sam):
    image = make_image(200, 256)
    generator = MaskGenerator(sam, **LENIENT)
    found, embedding = generator.generate_with_embedding(image)
    again, same = generator.generate_with_embedding(image, generator.encode([image])[0])
    assert torch.equal(embedding, same)
    np.testing.assert_array_equal(found.spans.values, again.spans.values)


def test_bf16_finds_nearly_the_same_masks(sam):
    image = make_image(256, 256)
    exact = MaskGenerator(sam, **LENIENT).generate(image)
    fast = MaskGenerator(sam, **LENIENT, precision="bf16").generate(image)
    best = [
        max(iou(mine["segmentation"], other["segmentation"]) for other in fast) for mine in exact
    ]
    assert np.median(best) > 0.95


def iou(first, second):
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def test_adaptive_prompts_skip_points_that_masks_cover(sam):
    image = make_image(256, 256)
    everything = MaskGenerator(sam, **LENIENT).generate(image)
    adaptive = MaskGenerator(sam, **LENIENT, adaptive=True).generate(image)
    assert 0 < len(adaptive) < len(everything)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_less_memory_means_smaller_batches_and_the_same_masks(sam, precision):
    image = make_image(256, 256)
    options = {**LENIENT, "precision": precision}
    whole = MaskGenerator(sam, **options).generate(image)
    starved = MaskGenerator(sam, **options)
    limit_memory(starved, prompts=3, batch=16)
    again = starved.generate(image)
    assert starved.batch.size == 2
    assert [record["point_coords"] for record in again] == [
        record["point_coords"] for record in whole
    ]


def limit_memory(generator, prompts, batch):
    """Make the decoder run out of memory above a number of prompts; start with `batch`."""
    decode = generator.decoder.decode

    def scarce(embedding, points, min_iou, size):
        for item in decode(embedding, points, min_iou, size):
            if size > prompts:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            yield item

    generator.decoder.decode = scarce
    generator.batch.size = batch


def test_no_memory_for_one_prompt_is_said_in_one_line(sam):
    generator = MaskGenerator(sam, **LENIENT)
    limit_memory(generator, prompts=0, batch=4)
    with pytest.raises(ModelError, match=r"cpu has not enough memory for SAM; choose a smaller"):
        generator.generate(make_image(64, 64))


def test_other_errors_are_not_taken_for_a_lack_of_memory(sam):
    generator = MaskGenerator(sam, **LENIENT)

    def broken(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    generator.decoder.decode = broken
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        generator.generate(make_image(64, 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points_per_side": None}, "exactly one of points_per_side and point_grids"),
        ({"point_grids": [np.zeros((1, 2))]}, "exactly one of points_per_side and point_grids"),
        ({"output_mode": "png"}, "output_mode must be one of binary_mask.*not 'png'"),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16, not 'fp8'"),
    ],
    ids=["no points", "two grids", "output", "precision"],
)
def test_wrong_arguments_are_refused(sam, options, message):
    with pytest.raises(SettingsError, match=message):
        MaskGenerator(sam, **options)
