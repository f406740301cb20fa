"""Somebody who follows a page: types its commands into one shell, and looks at what is printed."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT, Command, File
from tests.docs.stand_ins import PLACES
from tests.waiting import eventually

Substitute = Callable[[str], str]

UNTIL_CTRL_C = {
    # what is typed: what it prints once it does its work
    r"penstock watch\b": r"watching \S+ for topic",
    r"penstock download\b(?!.*--until-idle)": r"delivering into",
    r"penstock registry\b": r"the page is at",
    r"penstock broker\b": r"^ready: ",
    r"penstock demo\b.*--keep-running": r"keeps running until Ctrl-C",
    r"penstock status\b.*--watch": r"^ *(Stream|Services)\b",
    r"kubectl\b.*\bport-forward\b": r"^Forwarding from",
}
"""Commands that end with Ctrl-C, beside which the page goes on."""

ELSEWHERE = {
    # what is typed: the file that runs it, and how it is called there
    "make install": ("Makefile", "test: install"),
    "make test": (".ci/run", "make test"),
    "make demo": ("tests/integration/cli/test_demo.py", 'penstock("demo"'),
    "make images": ("Makefile", "$(MAKE) --no-print-directory images"),
}

LOOKS = (
    r"penstock (verify|status|ledger)\b|(curl|ls|find|cat|b3sum)\b"
    r"|kubectl\b.* (get|describe|logs|exec)\b"
)
"""Commands of which it may be too early: somebody would look again."""

SECONDS = 240
"""That a command may take."""
SECONDS_TO_SHOW = 60
"""That it may take until there is to see what the page shows."""


@dataclass(frozen=True)
class Running:
    command: Command
    pid: int
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Reader:
    """One shell, in a directory that looks like a clone of the repository.

    `substitute` makes of what the page says, in commands, files and what it shows, what is here.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], substitute: Substitute) -> None:
        self.directory = directory
        self._substitute = substitute
        self._logs = directory / ".said"
        self._logs.mkdir()
        self._number = 0
        self._running: dict[str, Running] = {}
        clone = directory / "penstock"
        for made in (clone, directory / "home", *(directory / place for place in PLACES)):
            made.mkdir()
        for entry in ROOT.iterdir():
            if entry.name != ".git":
                (clone / entry.name).symlink_to(entry)
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=clone,
            env={**environment, "HOME": str(directory / "home")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        # A job gets its own process group, in which Ctrl-C means something to it.
        self._tell("set -m")

    def follow(self, steps: Sequence[Command | File]) -> None:
        """Do all of them; what runs until Ctrl-C ends at the end. Raises AssertionError."""
        for step in steps:
            if isinstance(step, File):
                self._write(step)
            elif step.text == "^C":
                self._interrupt_all()
            elif not any(re.match(rf"{known}\b", step.text) for known in ELSEWHERE):
                self._do(step)
        self._interrupt_all()

    def close(self) -> None:
        """End what is left, whatever has happened."""
        for running in self._running.values():
            _kill(running.pid)
        _kill(self._shell.pid)
        self._shell.communicate()

    def _write(self, file: File) -> None:
        path = self._working_directory() / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            raise AssertionError(f"{file.where}: {file.name} is in the repository; call it something else")
        path.write_text(self._substitute(file.text), encoding="utf-8")

    def _do(self, command: Command) -> None:
        assert not command.text.startswith("make "), f"{command.where}: ELSEWHERE says what of make is run"
        for pattern, ready in UNTIL_CTRL_C.items():
            if re.match(pattern, command.text, re.DOTALL):
                self._start(command, ready)
                return
        deadline = time.monotonic() + SECONDS_TO_SHOW
        while True:
            code, printed = self._run(command)
            problem = f"exit code {code}" if code else self._not_shown(command, printed)
            if not problem:
                return
            if not re.match(LOOKS, command.text) or time.monotonic() > deadline:
                raise AssertionError(self._report(command, problem, printed))
            time.sleep(0.2)

    def _run(self, command: Command) -> tuple[int, str]:
        script, log = self._script(command)
        said = self._tell(f'eval "$(cat {script})" >{log} 2>&1 </dev/null', command)
        return int(said), log.read_text(errors="replace")

    def _start(self, command: Command, ready: str) -> None:
        kind = " ".join(self._substitute(command.text).split()[:3])
        before = self._running.get(kind)
        if command.interrupted and before is not None and before.command.text == command.text:
            self._interrupt(kind)
            return
        self._interrupt(kind)
        script, log = self._script(command)
        log.touch()
        self._tell(f'(eval "$(cat {script})") >{log} 2>&1 </dev/null &', command)
        running = Running(command, int(self._tell("", command, answer="$!")), log)
        self._running[kind] = running

        def does_its_work() -> bool:
            lives, printed = _lives(running.pid), running.said
            if re.search(ready, printed, re.MULTILINE) and not self._not_shown(command, printed):
                return True
            if not lives:
                raise RuntimeError("it ended by itself")
            return False

        try:
            eventually(does_its_work, SECONDS_TO_SHOW)
        except (AssertionError, RuntimeError) as error:
            printed = running.said
            problem = self._not_shown(command, printed) or f"it does not say {ready!r}"
            raise AssertionError(self._report(command, f"{problem}; {error}", printed)) from None
        if command.interrupted:
            self._interrupt(kind)

    def _interrupt_all(self) -> None:
        """Press Ctrl-C in each terminal, in that of the broker last."""
        for kind in reversed(list(self._running)):
            self._interrupt(kind)

    def _interrupt(self, kind: str) -> None:
        """Press Ctrl-C where a command of this kind runs."""
        running = self._running.get(kind)
        if running is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself; its exit code tells how
            os.killpg(running.pid, signal.SIGINT)
        code = int(self._tell(f"wait {running.pid}", running.command))
        del self._running[kind]
        assert code == 0, self._report(running.command, f"exit code {code} after Ctrl-C", running.said)

    def _script(self, command: Command) -> tuple[Path, Path]:
        self._number += 1
        script = self._logs / f"{self._number}.sh"
        script.write_text(self._substitute(command.text), encoding="utf-8")
        return script, self._logs / f"{self._number}.log"

    def _tell(self, line: str, command: Command | None = None, answer: str = "$?") -> str:
        """Let the shell run a line, and give what it says then: by default the line's exit code."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f'{line}\necho "={answer}"\n')
        self._shell.stdin.flush()
        while True:
            readable, _, _ = select.select([self._shell.stdout], [], [], SECONDS)
            said = self._shell.stdout.readline() if readable else ""
            if said.startswith("="):
                return said[1:].strip()
            if not said:
                what = "ended the shell" if readable else f"did not end within {SECONDS} s"
                raise AssertionError(self._report(command, what, "") if command else f"bash: {line}: {what}")

    def _working_directory(self) -> Path:
        return Path(os.readlink(f"/proc/{self._shell.pid}/cwd"))

    def _not_shown(self, command: Command, printed: str) -> str:
        """Which line of those that the page shows is not printed after the ones before; empty if all are."""
        lines = iter([normal(line) for line in printed.splitlines()])
        for line in command.shown:
            if line.strip() == "...":
                continue
            expected = re.escape(normal(self._substitute(line))).replace(re.escape("..."), ".*")
            if not any(re.fullmatch(expected, said) for said in lines):
                return f"the page shows a line that is not printed: {line!r}"
        return ""

    def _report(self, command: Command, problem: str, printed: str) -> str:
        others = "".join(
            f"\n--- {other.command.where}: $ {other.command.text}\n{other.said[-3000:]}"
            for other in self._running.values()
            if other.command is not command
        )
        typed = self._substitute(command.text)
        return f"{command.where}: {problem}\n$ {typed}\n{printed[-6000:]}{others}"


def normal(line: str) -> str:
    """The line as far as it is the same each time: without ids and numbers, and each space once."""
    line = re.sub(r"\b(?=[0-9a-f-]*\d)[0-9a-f]+(-[0-9a-f]+)*\b", "0", line)
    line = re.sub(r"\b(\d+(\.\d+)?(ms|[dhms]))+\b", "0s", line)
    line = re.sub(r"\d+([.,:]\d+)*", "0", line)
    return " ".join(line.split())


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
