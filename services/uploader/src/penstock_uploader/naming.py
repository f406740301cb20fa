"""What a file is called: relative to the watched directory here, under a prefix on the wire."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping

from blake3 import blake3

from chunkproto.paths import path_problem
from servicekit.exceptions import ConfigurationError


def render_prefix(template: str, values: Mapping[str, str]) -> str:
    """Fill in a prefix such as `{host}/raw`; raises ConfigurationError for what no path can begin with."""
    prefix = template
    for name, value in values.items():
        prefix = prefix.replace(f"{{{name}}}", value)
    if "{" in prefix or "}" in prefix:
        known = ", ".join(f"{{{name}}}" for name in values)
        raise ConfigurationError(f"the prefix {template!r} names something unknown; known are {known}")
    prefix = prefix.strip("/")
    if prefix and (problem := path_problem(prefix)):
        raise ConfigurationError(f"the prefix {template!r} cannot begin a path: {problem}")
    return prefix


def prefix_values() -> dict[str, str]:
    """Give what may stand in a prefix, on this machine, as one component of a path each."""
    host = socket.gethostname()
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user often has no name
        user = str(getattr(os, "getuid", lambda: "user")())
    values = {"host": host, "user": user, "pod": os.environ.get("POD_NAME") or host}
    return {name: value.replace("/", "_") for name, value in values.items()}


def wire_path(prefix: str, relative: str) -> str:
    """Give the path that a file has on the wire."""
    return f"{prefix}/{relative}" if prefix else relative


def relative_path(prefix: str, wire: str) -> str | None:
    """Give the file of a path on the wire; None if it has another prefix than ours."""
    if not prefix:
        return wire
    return wire[len(prefix) + 1 :] if wire.startswith(f"{prefix}/") else None


def derived_source_id(directory: str) -> str:
    """Make the id of a source out of what stays when all of `.penstock` is lost: machine and directory.

    So receipts are found again, and what they prove to be delivered is not sent again. Readable, with 40
    bits of a hash over host name, machine id (where there is one) and absolute path.
    """
    host = socket.gethostname()
    machine = ""
    try:
        with open("/etc/machine-id", encoding="ascii", errors="replace") as stream:
            machine = stream.read().strip()
    except OSError:
        pass
    raw = os.fsencode(os.path.realpath(directory))
    digest = blake3(b"\0".join([host.encode(), machine.encode(), raw])).hexdigest(length=5)
    name = os.path.basename(raw.decode("utf-8", "replace").rstrip("/\\")) or "root"
    readable = "".join(c if c.isascii() and (c.isalnum() or c in "._") else "_" for c in f"{host}-{name}")
    return f"{readable[:200]}-{digest}"
