"""Colours of classes: 64 that stay apart, made by `scripts/make_palette.py`.

The CIEDE2000 difference of any two is at least 11.5; that of any two of the first 12 is at least
12 for readers with full colour vision, protanopia, deuteranopia and tritanopia alike. None is near
white, black or middle grey, which maps use for paper, ink and unlabelled ground.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# fmt: off
PALETTE: tuple[str, ...] = (
    "#5a9e48", "#245a96", "#e8d48c", "#7c3424", "#a8849c", "#ccc0fc", "#9084e4", "#78e4cc",
    "#a8606c", "#e49090", "#786c00", "#603c54", "#00543c", "#18b4fc", "#c0783c", "#008484",
    "#9ce484", "#fcccb4", "#005460", "#603c90", "#908460", "#900c3c", "#00cce4", "#3c84e4",
    "#186c18", "#844800", "#9c60a8", "#cc9c3c", "#789c84", "#00789c", "#cc84d8", "#90b4fc",
    "#f0c0cc", "#d8609c", "#24c084", "#00b4a8", "#c09c84", "#78789c", "#3c9cb4", "#846054",
    "#547860", "#b4cca8", "#485400", "#a8d8f0", "#fca860", "#9cb448", "#604830", "#6c60c0",
    "#84186c", "#fc90c0", "#9c9024", "#f08460", "#b43c3c", "#9c9cc0", "#fcb4fc", "#9c6c0c",
    "#009060", "#545478", "#6c8418", "#d86060", "#b4a878", "#b43c78", "#6c6c48", "#a85430",
)
# fmt: on

# Colours of the ground are dull: from them to those of maps, they are this much more vivid.
_VIVID = 2.0
# How much lightness counts beside hue and vividness.
_LIGHTNESS = 0.5
#: Classes up to which all colours come from those that the colour-blind tell apart.
_FEW, _SAFE = 8, 12

# How far later rounds of the palette go to white (above 0) or to black (below 0).
_SHADES = (0.0, 0.35, -0.3, 0.6)


def color_of(class_id: int) -> str:
    """Return the colour a class has unless the user chose one.

    Parameters
    ----------
    class_id : int
        From 0. The first 256 ids get different colours: 64 that stay apart, then three paler
        or darker shades of them; after that they come again.

    Returns
    -------
    str
        `#rrggbb`.
    """
    turn, place = divmod(class_id, len(PALETTE))
    shade = _SHADES[turn % len(_SHADES)]
    goal = 255 if shade > 0 else 0
    channels = bytes.fromhex(PALETTE[place][1:])
    return "#" + bytes(round(value + (goal - value) * abs(shade)) for value in channels).hex()


def match_colors(ground: NDArray[np.floating]) -> list[str]:
    """Choose colours that resemble the ground: water bluish, plants greenish, sand sandy.

    Of the palette's colours, each class gets one of its own, so that all stay apart, and the sum
    of squared differences in CIELAB is the least that can be.

    Parameters
    ----------
    ground : ndarray, shape (n_classes, 3)
        Mean red, green and blue of each class, from 0 to 255.

    Returns
    -------
    list of str
        `#rrggbb` for each class; from the 65th on those of `color_of`.
    """
    # Imported here because the legend of a package needs neither.
    from scipy.optimize import linear_sum_assignment
    from skimage.color import rgb2lab

    known = np.asarray(ground, np.float64)[: len(PALETTE)]
    choice = PALETTE[:_SAFE] if len(known) <= _FEW else PALETTE
    scale = np.array([_LIGHTNESS, 1.0, 1.0])
    offered = np.array([list(bytes.fromhex(color[1:])) for color in choice])
    wanted, offers = (rgb2lab(colors[np.newaxis] / 255)[0] for colors in (known, offered))
    wanted = wanted * [1.0, _VIVID, _VIVID]
    costs = np.square((wanted[:, np.newaxis] - offers) * scale).sum(axis=2)
    places = linear_sum_assignment(costs)[1]
    return [*(choice[place] for place in places), *map(color_of, range(len(known), len(ground)))]
