import numpy as np

from alps_geo.segments.outlines import Vertices, find_vertices, link_outlines


def find(rows):
    return find_vertices(np.pad(np.array(rows, np.uint32), 1), 0, 0)


def places(vertices, owner):
    chosen = vertices.take(vertices.owners == owner)
    return sorted(zip(chosen.rows.tolist(), chosen.cols.tolist(), strict=True))


def test_a_pixel_has_four_vertices():
    assert places(find([[7]]), 7) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_straight_edges_have_no_vertices_in_between():
    assert places(find([[7, 7, 7]]), 7) == [(0, 0), (0, 3), (1, 0), (1, 3)]


def test_an_edge_has_a_vertex_where_two_neighbours_meet():
    vertices = find([[7, 7], [1, 2]])
    assert (1, 1) in places(vertices, 7)
    assert len(places(vertices, 7)) == 5


def test_nothing_has_no_outline():
    vertices = find([[0, 0], [0, 0]])
    assert len(vertices) == 0
    owners, geometry = link_outlines(vertices)
    assert len(owners) == len(geometry) == 0


def test_pixels_that_touch_in_a_corner_are_two_parts():
    _, geometry = link_outlines(find([[7, 0], [0, 7]]))
    assert [part.area for part in geometry[0].geoms] == [1, 1]


def test_holes_that_touch_in_a_corner_are_two_holes():
    _, geometry = link_outlines(find([[7, 7, 7, 7], [7, 0, 7, 7], [7, 7, 0, 7], [7, 7, 7, 7]]))
    assert len(geometry[0].geoms) == 1
    assert len(geometry[0].geoms[0].interiors) == 2


def test_outlines_do_not_depend_on_the_order_of_vertices():
    rng = np.random.default_rng(0)
    vertices = find(rng.integers(0, 3, (12, 15)))
    shuffled = vertices.take(rng.permutation(len(vertices)))
    first, second = link_outlines(vertices)[1], link_outlines(shuffled)[1]
    assert [item.wkb for item in first] == [item.wkb for item in second]
    assert len(Vertices.concatenate([vertices, shuffled])) == 2 * len(vertices)
