"""``python -m distgan.guides``: write tables of settings and lines of code into the guides."""

from __future__ import annotations

from pathlib import Path

import distgan
from distgan.guides import ORDER
from distgan.guides.tables import located, rewritten


def main() -> None:
    """Rewrite the marked blocks, and name every guide that this changed."""
    root = type(distgan.recipe("mnist-mlp"))
    for name in ORDER:
        path = Path(__file__).with_name(f"{name}.md")
        before = path.read_text(encoding="utf-8")
        after = located(rewritten(before, root))
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"changed: {path}")


if __name__ == "__main__":
    main()
