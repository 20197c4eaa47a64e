"""The tables of results, as Markdown.

python -m benchmarks.table bench-results/step-...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.frame.folder import Folder
from benchmarks.frame.table import markdown
from distgan.errors import UserError


def main() -> int:
    """Print the tables of folders of results, or of the folders in them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", type=Path)
    for path in parser.parse_args().folders:
        inner = sorted(file.parent for file in path.glob("*/run.json"))
        try:
            for folder in [Folder.open(one, "DIR") for one in inner or [path]]:
                print(f"### {folder.run['benchmark']}\n")
                print("\n".join(markdown(folder)) + "\n")
        except UserError as error:
            print(f"table: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
