"""Every link in the Markdown files leads to a file and a heading that are there, as GitHub shows them."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
NOT_OURS = {".venv", "node_modules", "site", ".cache"}
FILES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.rglob("*.md")
    if not NOT_OURS & set(path.relative_to(ROOT).parts)
    and not path.relative_to(ROOT).parts[0].startswith(".")
)
ATTRIBUTES = {"href", "src", "srcset"}


class Html(HTMLParser):
    """The links and the anchors in a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ATTRIBUTES and value:
                self.links.append(value.split()[0])
            if name in ("id", "name") and value:
                self.anchors.append(value)


def flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from flat(token.children or [])


def parsed(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def links(text: str) -> list[str]:
    found = []
    for token in flat(parsed(text)):
        if token.type.startswith("html_"):
            found += Html(token.content).links
        found += [str(token.attrs[name]) for name in ATTRIBUTES & token.attrs.keys()]
    return found


def anchors(text: str) -> set[str]:
    """The anchors of a file: of its headings, as GitHub makes them, and those written in HTML."""
    found: list[str] = []
    tokens = parsed(text)
    for position, token in enumerate(tokens):
        if token.type == "heading_open":
            words = "".join(
                one.content
                for one in tokens[position + 1].children or []
                if one.type in ("text", "code_inline")
            )
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    for token in flat(tokens):
        if token.type.startswith("html_"):
            found += Html(token.content).anchors
    return set(found)


def broken(path: Path, text: str, root: Path = ROOT) -> list[str]:
    problems = []
    for link in links(text):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = root / path.parent / unquote(parts.path)
        if parts.path and not target.exists():
            problems.append(f"{link}: no such file")
        elif parts.fragment and (not parts.path or target.suffix == ".md"):
            there = anchors(target.read_text("utf-8") if parts.path else text)
            if unquote(parts.fragment) not in there:
                problems.append(f"{link}: no such heading")
    return problems


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_link_leads_somewhere(path: Path):
    assert broken(path, (ROOT / path).read_text("utf-8")) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path):
    (tmp_path / "there.md").write_text(
        "# It's *there*, `too`\n# Twice\n# Twice\n<a id='here'></a>\n", "utf-8"
    )
    good = (
        "[a](there.md#its-there-too) [b](there.md#twice-1) [c](there.md#here) [d](#own) [e](https://else.org/x)\n"
        "```\n[f](nowhere.md)\n```\n# Own\n"
    )
    assert broken(Path("page.md"), good, tmp_path) == []
    bad = (
        "[a](gone.md) [b](there.md#gone) [c](#gone) ![d](gone.png) [e][r]\n\n<img src='gone.svg'>\n\n"
        "[r]: gone2.md"
    )
    assert {problem.split(":")[0] for problem in broken(Path("page.md"), bad, tmp_path)} == {
        "gone.md",
        "there.md#gone",
        "#gone",
        "gone.png",
        "gone.svg",
        "gone2.md",
    }
