"""Write the dashboards: `python -m dashboards`."""

from __future__ import annotations

from dashboards.files import DIRECTORY, files


def main() -> None:
    """Write each dashboard into its file."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (DIRECTORY / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
