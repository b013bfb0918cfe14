"""Threads side by side, each with memory of its own."""

import threading

import pytest
import torch

from alps_geo.models.sam.lanes import Lanes, Workspace

CPU = torch.device("cpu")


@pytest.fixture
def lanes() -> Lanes:
    """Return two lanes, whatever the machine has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    made = Lanes(CPU)
    torch.set_num_threads(threads)
    return made


def test_results_come_in_the_order_of_the_items(lanes: Lanes) -> None:
    first_waits = threading.Event()

    def work(item: int, space: Workspace) -> int:
        if item == 0:
            assert first_waits.wait(10)
        first_waits.set()
        return item * item

    assert list(lanes.map(work, range(20))) == [item * item for item in range(20)]


def test_no_two_items_use_a_workspace_at_once(lanes: Lanes) -> None:
    def work(item: int, space: Workspace) -> bool:
        mine = space.take("values", 1000)
        mine.fill_(item)
        for _ in range(50):
            mine += 1
        return bool((mine == item + 50).all())

    assert all(lanes.map(work, range(100)))


def test_a_lane_computes_on_one_thread_and_leaves_torch_as_it_was(lanes: Lanes) -> None:
    before = torch.get_num_threads()

    assert set(lanes.map(lambda item, space: torch.get_num_threads(), range(8))) == {1}
    assert torch.get_num_threads() == before


def test_an_error_in_a_lane_reaches_the_caller_and_the_lanes_go_on(lanes: Lanes) -> None:
    def work(item: int, space: Workspace) -> int:
        if item == 3:
            raise MemoryError("no room for item 3")
        return item

    with pytest.raises(MemoryError, match="item 3"):
        list(lanes.map(work, range(50)))
    assert list(lanes.map(lambda item, space: item, range(5))) == list(range(5))


def test_a_workspace_gives_the_same_memory_again_and_grows_where_it_must() -> None:
    space = Workspace(CPU)
    small = space.take("scores", 4, 5).fill_(7)

    assert space.take("scores", 2, 5).eq(7).all()
    assert space.take("scores", 2, 5).data_ptr() == small.data_ptr()
    assert space.take("scores", 8, 5).shape == (8, 5)
    assert space.take("image", 4, 5).data_ptr() != space.take("scores", 4, 5).data_ptr()
