"""What stands for what a reader of the docs has: addresses, ports, directories, namespaces."""

import os
import re
import sys
from pathlib import Path

from penstock.broker.cache import cache_directory
from penstock.broker.ports import free_ports

PLACES = ("data", "archive", "results")
"""What directories of the reader's own, such as /data/scope, begin with."""

KAFKA_PORT, REGISTRY_PORT = 9092, 8650

NAMESPACES = ("penstock", "microscopy", "genomics", "lab", "kafka", "default")
"""Of the reader's cluster. There they are this test's own."""


class Laptop:
    """A free port for each that a page names, and its directories below one of the test's."""

    def __init__(self, directory: Path, postgres: str = "") -> None:
        """`postgres` is the URL of a database, where a page needs one."""
        self.directory = directory
        self._postgres = postgres
        self._ports: dict[int, int] = {}

    def port(self, number: int) -> int:
        if number not in self._ports:
            [self._ports[number]] = free_ports(1)
        return self._ports[number]

    def __call__(self, text: str) -> str:
        """What a page says, for this machine."""
        text = self._with_addresses(text)
        return re.sub(rf"(?<![\w.:/~-])/({'|'.join(PLACES)})/", rf"{self.directory}/\1/", text)

    def _with_addresses(self, text: str) -> str:
        text = re.sub(r"\bkafka\d:\d+(,kafka\d:\d+)*", f"127.0.0.1:{KAFKA_PORT}", text)
        text = re.sub(r"postgresql://penstock:PASSWORD@db1/penstock", self._postgres, text)
        text = re.sub(r"^penstock broker\b(?!.*--port)", rf"\g<0> --port {KAFKA_PORT}", text)
        forward = r"(\bport-forward \S+ )(\d+)$"
        text = re.sub(forward, lambda found: f"{found[1]}{self.port(int(found[2]))}:{found[2]}", text)
        named = r"((?:127\.0\.0\.1|localhost):|-port[ =])(\d{4,5})\b"
        return re.sub(named, lambda found: f"{found[1]}{self.port(int(found[2]))}", text)

    def environment(self) -> dict[str, str]:
        """The shell's variables: what is a port or an address by default is one of ours."""
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "JAVA_HOME") if name in os.environ}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PENSTOCK_CACHE_DIR": str(cache_directory()),
            "PENSTOCK_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.port(KAFKA_PORT)}",
            "PENSTOCK_PORT": str(self.port(REGISTRY_PORT)),
            "PENSTOCK_REGISTRY": f"http://127.0.0.1:{self.port(REGISTRY_PORT)}",
        }


class Cluster(Laptop):
    """A laptop from which a cluster can be reached that others use, too."""

    def __init__(self, directory: Path, run: str) -> None:
        super().__init__(directory)
        self._run = run

    def namespace(self, name: str) -> str:
        return f"docs-{self._run}-{name}"

    def __call__(self, text: str) -> str:
        """What a page says, for this cluster. A directory is that of a pod."""
        # Names that the reader is to fill in: those of a stream that is there, and of the first pod.
        text = re.sub(r"(?<=[=/])NAME\b|(?<=dstream )NAME\b", "balance", text)
        text = re.sub(r"--namespace NS\b", "--namespace penstock", text)
        first = r"\1$(kubectl \2 get pod -o name | head -n 1 | cut -d / -f 2)"
        text = re.sub(r"(kubectl (--namespace \S+) .*)\bPOD\b", first, text)
        # That nothing is found where nothing is wrong is no failure.
        text = re.sub(r"(.*\| )(grep [^|]+)$", r"set -o pipefail; \1{ \2 || test $? = 1; }", text)
        text = re.sub(r"(operator\.namespaces=)\{([^}]*)\}", self._listed, text)
        one = "|".join(NAMESPACES)
        before = r"--namespace[ =]|-n |namespaces? |namespace/|namespace: |serviceaccount:"
        text = re.sub(rf"({before})({one})\b", self._second, text)
        text = re.sub(rf"(\b[a-z][a-z-]*\.)({one})(?=:\d|\.svc)", self._second, text)
        # As in the name of a destination: NAMESPACE.STREAM.
        text = re.sub(r"(?<![\w./=-])()(penstock)(?=\.(?!dev\b|toml\b)[a-z])", self._second, text)
        # The definition of DirectoryStream is everybody's, and so is every stream.
        text = re.sub(r"(helm (?:install|upgrade)\b.*? charts/penstock)", r"\1 --set crd.install=false", text)
        text = re.sub(r"kubectl delete crd\b", r"\g<0> --dry-run=server", text)
        text = re.sub(r"\bclusterWide=true\b", r"\g<0> --dry-run=server", text)
        return self._with_addresses(text)

    def _listed(self, found: re.Match[str]) -> str:
        return f"{found[1]}{{{','.join(map(self.namespace, found[2].split(',')))}}}"

    def _second(self, found: re.Match[str]) -> str:
        return f"{found[1]}{self.namespace(found[2])}"
