"""The `penstock` command as a process, as a user or a script runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

_SCRIPTS = Path(sys.executable).parent

# As the users of instruments run it: root may read and write anywhere, unless it gives that up (util-linux).
_IS_ROOT = os.name == "posix" and os.geteuid() == 0
_HUMBLE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if _IS_ROOT else []


def clean_environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | variables


def penstock(
    *arguments: object, timeout: float = 60, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a pipe."""
    return subprocess.run(
        [*_HUMBLE, _SCRIPTS / "penstock", *map(str, arguments)],
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        check=False,
    )


class Running:
    """A command that runs until it is told to stop."""

    def __init__(self, *arguments: object, log: Path, **variables: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [_SCRIPTS / "penstock", *map(str, arguments)],
                env=clean_environment(**variables),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def interrupt(self, timeout: float = 60) -> int:
        """Do what Ctrl-C does, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr with which a command has failed."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]
