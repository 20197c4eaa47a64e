"""The guides: Markdown files beside this module, read by `distgan guide` and linked by the README.

A guide is ``NAME.md``: a heading, an empty line, one line that says what it is about, and the text.
To add one, write the file, name it in `ORDER` and link it from README.md; tests/test_guides.py
checks links, commands and Python code of every guide. Tables of settings are made by
``python -m distgan.guides`` (`distgan.guides.tables`).
"""

from __future__ import annotations

import re
from importlib.resources import files

ORDER = (
    "start",
    "data",
    "training",
    "families",
    "gan-or-vae",
    "translation",
    "video",
    "metrics",
    "health",
    "faults",
    "tuning",
    "scaling",
    "cluster",
    "exactness",
    "python-api",
    "contributing",
)
"""Names of all guides, in the order in which a newcomer would read them."""

_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def text(name: str) -> str:
    """The Markdown source of a guide.

    Raises:
        KeyError: for a name that is not in `ORDER`.
    """
    if name not in ORDER:
        raise KeyError(name)
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """The line below a guide's heading, which says what it is about."""
    return text(name).splitlines()[2]


def for_terminal(markdown: str) -> str:
    """Markdown without comments and pictures, and with links as a terminal's reader follows them.

    ``[health](health.md#states)`` becomes ``health (distgan guide health)``; addresses and files
    beside the package stay as they are, in parentheses.
    """
    markdown = re.sub(r"<!--.*?-->\n?", "", markdown, flags=re.DOTALL)
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_LINK.sub(_followed, markdown[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, _LINK.sub(_followed, markdown[end:])])


def _followed(link: re.Match[str]) -> str:
    shown, target = link.groups()
    if link.group().startswith("!"):
        return ""
    file, _, anchor = target.partition("#")
    if not file and anchor:
        return shown
    guide = file.removesuffix(".md")
    if guide in ORDER:
        return f"{shown} (`distgan guide {guide}`)"
    place = target if "://" in target else file.replace("../", "")
    return shown if place in shown else f"{shown} ({place})"
