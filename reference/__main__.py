"""Write the reference pages, and what else is generated from the code, below docs: `python -m reference`.

Run it in the root of the repository, as `make docs` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from penstock_operator.resource.__main__ import generated as operator_files
from reference import chart, cli
from servicekit.events import page as events

ROOT = Path(__file__).parents[1]


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Return the text of each file that is generated, by its path below `root`."""
    docs = Path("docs")
    files = {docs / "reference/cli.md": cli.page(), docs / "events.md": events.page()}
    files |= {docs / "schemas" / name: text for name, text in events.schema_files().items()}
    files |= chart.pages(root) | operator_files(root)
    return files


def write(root: Path = ROOT, say: Callable[[str], object] = print) -> None:
    """Write what differs from what is there; schemas of events that are no more go."""
    files = pages(root)
    for path, text in files.items():
        target = root / path
        if not target.is_file() or target.read_text("utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8", newline="\n")
            say(f"wrote {path}")
    for schema in sorted((root / "docs/schemas").glob("*.json")):
        if schema.relative_to(root) not in files:
            schema.unlink()
            say(f"removed {schema.relative_to(root)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m reference")
    write()
