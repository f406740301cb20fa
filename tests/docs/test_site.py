"""The site builds from what is committed, all that it shows is in it, and its links lead somewhere."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
NAVIGATION = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

pytestmark = pytest.mark.xdist_group("site")  # it is built once


def build(directory: Path) -> subprocess.CompletedProcess[str]:
    """Build the site from a copy, into `directory/site`."""
    directory.mkdir(exist_ok=True)
    shutil.copytree(ROOT / "docs", directory / "docs", dirs_exist_ok=True)
    shutil.copy(ROOT / "zensical.toml", directory)
    return again(directory)


def again(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    built = build(directory)
    said = re.sub(r"\x1b\[[0-9;]*m", "", built.stdout + built.stderr)
    assert built.returncode == 0, said
    return directory / "site"


class Built(HTMLParser):
    """What a built page leads to, what it loads, its anchors, and the words of its text outside of code."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.leads_to: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        values = {name: value for name, value in attributes if value is not None}
        if tag not in VOID:
            self._open.append(tag)
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.leads_to.append(values["href"])
        elif "href" in values:
            self.loads.append(values["href"])
        self.loads += [
            values[name].split()[0] for name in ("src", "srcset", "data", "poster") if name in values
        ]

    def handle_endtag(self, tag):
        while tag in self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if "article" in self._open and not {"code", "pre", "script", "style", "h2", "h3"} & set(self._open):
            self.text.append(data)


def pages(site: Path) -> Iterator[tuple[str, Built]]:
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":  # its links are of the server's root
            yield path.relative_to(site).as_posix(), Built(path)


def navigation(entries: object) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        for entry in entries.values():
            yield from navigation(entry)
    elif isinstance(entries, list):
        for entry in entries:
            yield from navigation(entry)


def test_every_page_is_in_the_navigation_once():
    there = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(navigation(NAVIGATION)) == there, "zensical.toml names each page of docs/ once"


def test_it_builds_and_has_every_page(site):
    for name in navigation(NAVIGATION):
        built = site / name.replace("README.md", "index.md").replace(".md", ".html")
        assert built.is_file(), name


def test_a_link_to_a_page_or_heading_that_is_not_there_stops_the_build(tmp_path):
    assert build(tmp_path).returncode == 0
    page = tmp_path / "docs/index.md"
    text = page.read_text("utf-8")
    for link in ("gone.md", "operator.md#gone"):
        page.write_text(f"{text}\n[gone]({link})\n", "utf-8")
        assert again(tmp_path).returncode != 0, link


def test_its_links_and_pictures_are_in_it(site):
    built = dict(pages(site))
    broken = []
    for name, page in built.items():
        for link in page.leads_to + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            if target.is_dir():
                target /= "index.html"
            if not target.resolve().is_relative_to(site.resolve()) or not target.is_file():
                broken.append(f"{name}: {link}")
            elif parts.fragment and target.suffix == ".html":
                there = built[target.resolve().relative_to(site.resolve()).as_posix()].anchors
                if unquote(parts.fragment) not in there:
                    broken.append(f"{name}: {link} (no such anchor)")
    assert broken == [], "a page of the site can lead to files of docs/ only"


def test_nothing_is_loaded_from_elsewhere(site):
    for name, page in pages(site):
        assert [link for link in page.loads if urlsplit(link).netloc] == [], name
    for style in site.rglob("*.css"):
        loaded = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", style.read_text("utf-8"))
        outside = [link for pair in loaded for link in pair if urlsplit(link).netloc]
        assert outside == [], style


def test_all_of_the_markdown_was_understood(site):
    """What GitHub shows as a list, a table or a fence is one here, too."""
    odd = re.compile(r"```|^\s*\|.*\|\s*$|\n\s*(?:[-*]|\d+\.) |\]\(|(?<!\S)\*\*\S|<!--", re.MULTILINE)
    left = [
        f"{name}: {text.strip()[:80]!r}"
        for name, page in pages(site)
        for text in page.text
        if odd.search(text)
    ]
    assert left == []


def test_guarantees_name_tests_that_there_are():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs/guarantees.md").read_text("utf-8"))
    assert len(named) > 20
    for path, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), f"{path}::{test}"
