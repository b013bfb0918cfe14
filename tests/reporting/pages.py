"""A small reader of pages: what is nested in what, what is said, and what would be loaded."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "path", "circle"}
#: Attributes that make a browser fetch something; a link is followed by people only.
LOADING = {"src", "srcset", "data", "poster", "background", "action", "xlink:href"}


class Page(HTMLParser):
    """A page, read; a wrong end tag is an error.

    Attributes
    ----------
    starts : list of (str, dict)
        Tags with their attributes.
    loaded, links : list of str
        Addresses that would be fetched, and those that people may follow.
    texts : dict of str to list of str
        What stands in elements, by tag.
    ids : list of str
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute of {tag} comes twice"
        self.starts.append((tag, found))
        self.loaded += [found[name] or "" for name in LOADING & found.keys()]
        if "href" in found:
            (self.links if tag == "a" else self.loaded).append(found["href"] or "")
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> ends nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)
