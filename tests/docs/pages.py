"""The pages of the docs as their tests see them: blocks, commands, and what comments say of them.

CONTRIBUTING.md ("Commands in the docs") says how they are written.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]

SESSIONS = ("console",)
SCRIPTS = ("sh", "bash")
OTHER_SHELLS = ("powershell", "pwsh", "bat", "shell", "shell-session", "zsh", "fish")
DATA = ("yaml", "json", "toml")
SHOWN = ("text", "python", "mermaid", "ini", "properties", "nginx", "promql", "diff", "markdown")

Place = Literal["laptop", "cluster"]

_COMMENT = re.compile(r"<!-- *(commands|before|not run|not checked) *: *(.*?) *-->", re.DOTALL)
_NAME = re.compile(r"# ([\w./-]+\.[a-z]+)")
_TITLE = re.compile(r'\btitle="([^"]+)"')
_PROMPT = "$ "


class MarkError(ValueError):
    """A page says something of its commands that has no meaning."""


@dataclass(frozen=True)
class Command:
    """Something to type, and what the page shows of what it prints."""

    where: str
    """PAGE:LINE"""
    text: str
    shown: tuple[str, ...] = ()
    interrupted: bool = False
    """Whether the page shows a Ctrl-C that ends it."""


@dataclass(frozen=True)
class File:
    """Something to write into a file."""

    where: str
    name: str
    text: str


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    where: str
    language: str
    info: str
    text: str
    line: int
    page: str
    place: Place
    before: tuple[str, ...]
    """Commands that nobody sees, and which are run before."""
    not_run: str | None
    not_checked: str | None

    @property
    def name(self) -> str | None:
        """The file that it is."""
        first = _NAME.fullmatch(self.text.split("\n", 1)[0]) if self.language in DATA else None
        found = _TITLE.search(self.info) or first
        return found[1] if found else None

    @property
    def has_commands(self) -> bool:
        return self.language in (*SESSIONS, *SCRIPTS, *OTHER_SHELLS) and self.name is None

    def steps(self) -> Iterator[Command | File]:
        """What a reader does with it."""
        for text in self.before:
            yield Command(f"{self.where} (before)", text)
        if self.name is not None:
            yield File(self.where, self.name, self.text)
        elif self.not_run is None and self.has_commands:
            yield from self._commands() if self.language in SESSIONS else [Command(self.where, self.text)]

    def _commands(self) -> Iterator[Command]:
        command: list[str] = []
        shown: list[str] = []
        began = self.line

        def typed() -> Iterator[Command]:
            if command:
                lines = [line for line in shown if line != "^C"]
                text, ended = "\n".join(command), "^C" in shown
                yield Command(f"{self.page}:{began}", text, tuple(filter(str.strip, lines)), ended)

        for number, line in enumerate(self.text.splitlines(), self.line + 1):
            if command and not shown and command[-1].endswith("\\"):
                command.append(line)
            elif line.startswith(_PROMPT):
                yield from typed()
                command, shown, began = [line.removeprefix(_PROMPT)], [], number
            elif not command:
                raise MarkError(
                    f"{self.page}:{number}: a console block begins with a `$ `, not with {line!r}"
                )
            else:
                shown.append(line)
        yield from typed()


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    name: str
    blocks: tuple[Block, ...]
    inline: tuple[tuple[str, str], ...]
    """Code within lines of text: PAGE:LINE and the code."""

    def steps(self, place: Place) -> list[Command | File]:
        """What a reader of the page does at a laptop, or at a cluster; its files are at both."""
        here = [block for block in self.blocks if block.place == place or block.name]
        steps = [step for block in here for step in block.steps()]
        return steps if any(isinstance(step, Command) for step in steps) else []


@functools.cache
def pages() -> tuple[Page, ...]:
    """All pages: README.md, CONTRIBUTING.md, docs and the chart's, but for the records of decisions."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found += sorted((ROOT / "charts").rglob("*.md"))
    names = [path.relative_to(ROOT).as_posix() for path in found]
    return tuple(
        read(name, (ROOT / name).read_text("utf-8")) for name in names if not name.startswith("docs/design/")
    )


def read(name: str, text: str) -> Page:
    """The page of this text. Raises MarkError."""
    blocks: list[Block] = []
    inline: list[tuple[str, str]] = []
    place: Place = "laptop"
    marks: dict[str, str] = {}
    before: list[str] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = token.map[0] + 1 if token.map else 0
        where = f"{name}:{line}"
        if token.type == "html_block":
            for kind, said in _COMMENT.findall(token.content):
                if kind == "commands":
                    if said not in ("laptop", "cluster"):
                        raise MarkError(f"{where}: commands: {said}: there are laptop and cluster")
                    place = said
                elif kind == "before":
                    before.append(said)
                else:
                    marks[kind] = said
        elif token.type in ("fence", "code_block"):
            language, _, info = token.info.strip().partition(" ")
            blocks.append(
                Block(
                    where, language, info, token.content, line, name, place, tuple(before),
                    marks.pop("not run", None), marks.pop("not checked", None),
                )
            )  # fmt: skip
            before = []
        elif token.type == "inline":
            codes = (child.content for child in token.children or () if child.type == "code_inline")
            inline += ((where, code) for code in codes)
        if (marks or before) and token.type not in (
            "html_block",
            "fence",
            "list_item_open",
            "bullet_list_open",
        ):
            raise MarkError(f"{where}: a comment says {[*marks, *before]}, but no block follows it")
    if marks or before:
        raise MarkError(f"{name}: a comment at its end says {[*marks, *before]}, but no block follows it")
    return Page(name, tuple(blocks), tuple(inline))
