"""Edits by hand are kept, replaced, taken back and applied to other classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alps_geo.errors import RunError
from alps_geo.run.edits import FILE_NAME, Edits, find_heirs, load_edits, save_edits

numbers = st.dictionaries(st.integers(1, 40), st.integers(0, 7), max_size=12)


def put(edits: Edits, given: dict[int, int], model: str) -> Edits:
    return edits.put(np.array(list(given), np.int64), np.array(list(given.values()), int), model)


@given(first=numbers, second=numbers, gone=st.sets(st.integers(1, 40)))
def test_the_last_word_on_a_segment_counts(
    first: dict[int, int], second: dict[int, int], gone: set[int]
) -> None:
    edits = put(put(Edits.none(), first, "a"), second, "b").drop(np.array(sorted(gone), int))
    expected = {
        number: (class_id, model)
        for given, model in ((first, "a"), (second, "b"))
        for number, class_id in given.items()
    }
    expected = {number: expected[number] for number in sorted(expected) if number not in gone}
    assert edits.segment_id.tolist() == list(expected)
    said = zip(edits.class_id.tolist(), edits.model.tolist(), strict=True)
    assert list(said) == list(expected.values())


@given(given_ids=numbers)
def test_edits_are_written_over_predictions_with_full_confidence(given_ids: dict[int, int]) -> None:
    edits = put(Edits.none(), given_ids, "a")
    segments = np.arange(1, 31)
    class_id, confidence = np.full(30, 9, np.uint16), np.zeros(30, np.float32)
    heirs = {"a": {number: number + 1 for number in range(7)}}  # class 7 has no heir
    count = edits.apply(segments, class_id, confidence, heirs)
    expected = {s: c + 1 for s, c in given_ids.items() if s <= 30 and c < 7}
    assert count == len(expected)
    assert class_id.tolist() == [expected.get(s, 9) for s in segments.tolist()]
    assert confidence.tolist() == [float(s in expected) for s in segments.tolist()]


@given(given_ids=numbers)
def test_edits_come_back_from_their_file(
    tmp_path_factory: pytest.TempPathFactory, given_ids: dict[int, int]
) -> None:
    folder = tmp_path_factory.mktemp("edits")
    edits = put(Edits.none(), given_ids, "a" * 64)
    save_edits(folder, edits)
    again = load_edits(folder)
    assert [getattr(again, name).tolist() for name in vars(edits)] == [
        column.tolist() for column in vars(edits).values()
    ]
    assert (folder / FILE_NAME).exists() == bool(given_ids)
    save_edits(folder, Edits.none())
    assert not list(folder.iterdir())


def test_a_damaged_file_of_edits_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"junk")
    with pytest.raises(RunError, match=r"edits.parquet, which holds what was changed by hand"):
        load_edits(tmp_path)


rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 9)), max_size=30)


@given(parts=st.lists(rows, max_size=3))
def test_the_heir_of_a_class_has_most_of_its_pixels(
    parts: list[list[tuple[int, int, int]]],
) -> None:
    arrays = [np.array(part, np.int64).reshape(-1, 3).T for part in parts]
    heirs = find_heirs((old, new, pixels) for old, new, pixels in arrays)
    everything = np.concatenate([np.zeros((3, 0), np.int64), *arrays], axis=1)
    for old in range(5):
        chosen = everything[:, everything[0] == old]
        sizes = np.bincount(chosen[1], chosen[2], minlength=5)
        assert heirs.get(old) == (int(sizes.argmax()) if sizes.any() else None)
