"""The tables of results, as Markdown.

python -m benchmarks.table bench-results/step-...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.frame.folder import Folder
from benchmarks.frame.table import brief, markdown
from distgan.errors import UserError


def main() -> int:
    """Print the tables of folders of results, or of the folders in them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", type=Path)
    parser.add_argument("--brief", action="store_true", help="a line for each comparison")
    options = parser.parse_args()
    for path in options.folders:
        inner = sorted(file.parent for file in path.glob("*/run.json"))
        try:
            for folder in [Folder.open(one, "DIR") for one in inner or [path]]:
                print(f"### {folder.run['benchmark']}\n")
                lines = brief(folder) if options.brief else markdown(folder)
                print("\n".join(lines) + "\n")
        except UserError as error:
            print(f"table: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
