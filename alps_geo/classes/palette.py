"""Colours of classes: 64 that stay apart, made by `scripts/make_palette.py`.

The CIEDE2000 difference of any two is at least 11.5; that of any two of the first 12 is at least
12 for readers with full colour vision, protanopia, deuteranopia and tritanopia alike. None is near
white, black or middle grey, which maps use for paper, ink and unlabelled ground.
"""

from __future__ import annotations

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
