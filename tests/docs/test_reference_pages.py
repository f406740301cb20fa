"""What is generated from the code is what is committed: commands, DirectoryStream, events, schemas."""

from pathlib import Path

import pytest
from reference.__main__ import ROOT, pages, write

from penstock.main import main

PAGES = pages()


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_what_is_committed_is_what_the_code_says(path: Path):
    text = (ROOT / path).read_text("utf-8") if (ROOT / path).is_file() else ""
    assert text == PAGES[path], f"{path} is out of date: run `make docs`, and commit it"


def test_it_is_the_same_each_time():
    assert pages() == PAGES


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_writing_it_changes_nothing_for_who_asks_for_help_then(option: str):
    assert main(["watch", option]) == 0


def test_only_what_differs_is_written_and_schemas_of_no_event_go(tmp_path: Path):
    for path, text in PAGES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    (tmp_path / "operator").symlink_to(ROOT / "operator")
    for file in ("values.yaml", "values.schema.json", "Chart.yaml"):
        (tmp_path / "charts/penstock" / file).write_bytes((ROOT / "charts/penstock" / file).read_bytes())
    cli, old = Path("docs/reference/cli.md"), Path("docs/schemas/dev.penstock.file.lost.json")
    (tmp_path / cli).write_text("old", "utf-8")
    (tmp_path / old).write_text("{}", "utf-8")

    said: list[str] = []
    write(tmp_path, said.append)

    assert said == [f"wrote {cli}", f"removed {old}"]
    assert (tmp_path / cli).read_text("utf-8") == PAGES[cli]
    assert not (tmp_path / old).exists()


def test_every_option_of_every_command_is_on_the_page():
    import click

    from penstock.main import COMMANDS, penstock

    text = PAGES[Path("docs/reference/cli.md")]
    for name in COMMANDS:
        command = penstock.get_command(click.Context(penstock), name)
        section = text.partition(f"### `penstock {name}`\n")[2].partition("\n### ")[0]
        options = [
            spelled
            for one in command.params
            if isinstance(one, click.Option)
            for spelled in one.opts + one.secondary_opts
        ]
        assert options
        for spelled in options:
            assert f"{spelled}" in section, f"{name} {spelled}"
