"""Asking a registry: its address, our token, and what can go wrong on the way.

RegistryError               the registry says no, or what it says makes no sense to us
├── RegistryUnavailable     nobody answers there
├── NotAllowed              it wants a token, or another one
└── NotKnown                it knows nothing of what was asked for

The token is sent to the registry that was named and to nobody else: redirects are not followed, and a proxy
of the environment is never asked about this machine.
"""

from __future__ import annotations

import difflib
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

import click
from pydantic import BaseModel, ValidationError
from typing_extensions import override

from penstock.display import shown
from penstock.help import Option
from penstock.main import say
from penstock.registry_answers import (
    FileDetail,
    Files,
    Overview,
    Service,
    Services,
    Stream,
    Upload,
    as_wanted,
)
from servicekit.exceptions import ConfigurationError, PenstockError
from servicekit.http import is_loopback

DEFAULT_URL: Final = "http://127.0.0.1:8650"
TIMEOUT_SECONDS: Final = 30.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""More than any answer has; something else that listens there must not fill our memory."""
LOOKUP_AT_ONCE: Final = 1000
"""Paths that one question may name."""

NAMED: Final = 10
"""So many names that are known are told to who has named another one."""

GROUP: Final = "Registry"

_NO_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"}
)
"""What OpenSSL calls an answer that is no TLS, in its various versions."""

M = TypeVar("M", bound=BaseModel)


class RegistryError(PenstockError):
    """The registry says no, or what it says makes no sense to us."""


class RegistryUnavailable(RegistryError):
    """Nobody answers there."""


class NotAllowed(RegistryError):
    """It wants a token, or another one."""


class NotKnown(RegistryError):
    """It knows nothing of what was asked for."""


class RegistryClient:
    """Asks the registry at `url`, with a token if there is one. `token_origin` says where that comes from."""

    def __init__(self, url: str, *, token: str | None = None, token_origin: str = "") -> None:
        """Raise ConfigurationError for what is no address of a registry, or cannot be a token."""
        # As a browser shows it, too: the page's views stand behind `#/`.
        self.url = url.partition("#/")[0].rstrip("/")
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        if "@" in parts.netloc:
            raise ConfigurationError(
                "--registry (PENSTOCK_REGISTRY) holds a user or password: leave it out, and put the token "
                "into a file that --token-file names, or into PENSTOCK_TOKEN"
            )
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            raise ConfigurationError(
                f"--registry (PENSTOCK_REGISTRY) = {url!r}: must be an address such as {DEFAULT_URL} or "
                "https://registry.example.org"
            )
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise ConfigurationError(f"{token_origin} holds no token (one line, no spaces)")
        self.on_loopback = is_loopback(host)
        self.in_the_clear = token is not None and parts.scheme == "http" and not self.on_loopback
        """Whether the token can be read by everybody on the way."""
        self._token = token
        self._token_origin = token_origin
        proxies = urllib.request.ProxyHandler({}) if self.on_loopback else urllib.request.ProxyHandler()
        self._opener = urllib.request.build_opener(proxies, _NoRedirects())

    def overview(self, stream: str | None = None) -> dict[str, Any]:
        """Return everything, or one stream, at a glance, as it came: see `Overview`. Raises NotKnown."""
        answer = self.get("/overview", {"stream": stream} if stream is not None else None)
        if not self._read(Overview, answer).streams and stream is not None:
            raise self._unknown_stream(stream)
        return answer

    def stream(self, topic: str) -> Stream:
        """Return one stream; raises NotKnown, with the names of those that there are."""
        try:
            return self._read(Stream, self.get(f"/streams/{quote(topic, safe='')}"))
        except NotKnown:
            raise self._unknown_stream(topic) from None

    def _unknown_stream(self, topic: str) -> NotKnown:
        heard_nothing = f"the registry at {self.url} has heard nothing of stream {topic!r}"
        return NotKnown(heard_nothing + instead(topic, self.topics()))

    def topics(self) -> list[str]:
        """Return the names of all streams."""
        return [str(stream.get("topic")) for stream in self.get("/streams").get("items", [])]

    def has_source(self, stream: str, source: str) -> bool:
        """Whether a source has ever sent anything to a stream."""
        found = self._read(Files, self.get("/files", {"stream": stream, "source": source, "limit": 1}))
        return bool(found.items) or found.next is not None

    def programs(self, stream: str) -> list[Service]:
        """Return the programs of a stream that say so in their heartbeats, those heard of last first."""
        services = self._read(Services, self.get("/services")).items
        ours = [service for service in services if service.status.get("topic") == stream]
        return sorted(ours, key=lambda service: service.last_at, reverse=True)

    def lookup(self, stream: str, paths: Sequence[str]) -> Files:
        """Return what is known of files by their paths, at most LOOKUP_AT_ONCE; of all sources.

        Unknown ones are left out.
        """
        question = {"stream": stream, "paths": [as_wanted(path) for path in paths]}
        found = self._read(Files, self._ask("/files/lookup", json.dumps(question).encode()))
        if found.next is not None and len(paths) > 1:
            half = len(paths) // 2
            first, second = (self.lookup(stream, part) for part in (paths[:half], paths[half:]))
            return Files(items=first.items + second.items)
        return found

    def file(self, file_id: UUID) -> FileDetail:
        """Return a file with its uploads; raises NotKnown."""
        return self._read(FileDetail, self.get(f"/files/{file_id}"))

    def upload(self, upload_id: UUID | str) -> Upload:
        """Return one upload; raises NotKnown."""
        return self._read(Upload, self.get(f"/uploads/{quote(str(upload_id), safe='')}"))

    def get(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return what is at a path below /api/v1. Raises RegistryError."""
        return self._ask(f"{path}?{urlencode(query, doseq=True)}" if query else path, None)

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data=body)  # noqa: S310 - http(s), see above
        request.add_header("Accept", "application/json")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token is not None:
            # Not for a redirect's target, should one ever be followed.
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                content = response.read(MAX_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._explain_status(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._explain_failure(error) from None
        try:
            answer = json.loads(content) if len(content) <= MAX_ANSWER_BYTES else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._is_no_registry()
        return answer

    def _read(self, model: type[M], answer: dict[str, Any]) -> M:
        try:
            return model.model_validate(answer)
        except ValidationError:
            raise self._is_no_registry() from None

    def _is_no_registry(self) -> RegistryError:
        return RegistryError(
            f"what answers at {self.url} is no registry of ours: name the registry with --registry "
            "(PENSTOCK_REGISTRY), or bring both to the same version"
        )

    def _explain_status(self, error: urllib.error.HTTPError) -> RegistryError:
        if 300 <= error.code < 400:
            target = shown(error.headers.get("Location") or "somewhere else")
            return RegistryError(
                f"{self.url} sends us on to {target}: if that is right, name it with --registry"
            )
        try:
            problem = json.loads(error.read(MAX_ANSWER_BYTES))
            said = " ".join(str(problem.get("detail") or problem["title"]).split())
        except (OSError, ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException):
            problem, said = None, http.client.responses.get(error.code, "")
        if error.code in (401, 403) and (error.code == 401 or problem is None):
            if self._token is None:
                return NotAllowed(
                    f"the registry at {self.url} answers only who has its token; put that into a file for "
                    "--token-file, or into PENSTOCK_TOKEN"
                )
            return NotAllowed(
                f"the registry at {self.url} does not accept the token of {self._token_origin}, which "
                "must be the one that the registry was started with"
            )
        if error.code == 404 and problem is not None:
            return NotKnown(f"the registry at {self.url}: {shown(said)}")
        if problem is None and error.code < 500:
            return self._is_no_registry()
        return RegistryError(
            f"the registry at {self.url} answers {error.code}: {shown(said)}"
            + ("; its log says more" if error.code >= 500 else "")
        )

    def _explain_failure(self, error: OSError | http.client.HTTPException) -> RegistryError:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return RegistryUnavailable(
                f"the certificate of {self.url} is not to be trusted ({reason.verify_message}): check the "
                "address; SSL_CERT_FILE may name the file of your own authority"
            )
        # SSLError: what answers is no TLS. The others: it hung up, or what it said is no HTTP.
        if isinstance(reason, ssl.SSLError) and reason.reason in _NO_TLS:
            return RegistryUnavailable(
                f"what listens at {self.url} speaks http, not https: name it as http{self.url[5:]}"
            )
        if isinstance(reason, http.client.RemoteDisconnected | http.client.BadStatusLine):
            return RegistryUnavailable(
                f"what listens at {self.url} does not speak HTTP: it may be another program (a Kafka "
                "broker?), or want https; name the registry with --registry (PENSTOCK_REGISTRY)"
            )
        if isinstance(reason, TimeoutError):
            said = f"nothing within {TIMEOUT_SECONDS:g} s"
        elif isinstance(reason, OSError) and reason.strerror:
            said = reason.strerror
        elif isinstance(reason, str):
            said = reason
        else:
            said = type(reason).__name__
        if self.on_loopback:
            way_out = (
                "start one with `penstock registry`, or name the one to ask with --registry "
                "(PENSTOCK_REGISTRY)"
            )
        else:
            way_out = "check --registry (PENSTOCK_REGISTRY), the network, and that it runs"
        return RegistryUnavailable(f"no registry answers at {self.url} ({shown(said)}): {way_out}")


def instead(name: str, known: Sequence[str]) -> str:
    """Return the end of a line about a name that is not known: which one may be meant, or which there are."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f": did you mean {shown(near[0])}?"
    others = ", ".join(map(shown, known[:NAMED])) + (" and others" if len(known) > NAMED else "")
    return f"; it knows {others or 'none yet'}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def registry_options() -> list[click.Parameter]:
    """Return --registry and --token-file."""
    return [
        Option(
            ["--registry"],
            metavar="URL",
            envvar="PENSTOCK_REGISTRY",
            default=DEFAULT_URL,
            show_default=True,
            group=GROUP,
            help="Address of the registry.",
        ),
        Option(
            ["--token-file"],
            metavar="FILE",
            envvar="PENSTOCK_TOKEN_FILE",
            group=GROUP,
            help="File with the registry's token; PENSTOCK_TOKEN may hold it instead. None is needed on the "
            "registry's own machine.",
        ),
    ]


def connect(registry: str, token_file: str | None) -> RegistryClient:
    """Return a client for what the options say. Raises ConfigurationError."""
    token, origin = None, ""
    if token_file is not None:
        origin = f"--token-file (PENSTOCK_TOKEN_FILE) = {token_file!r}"
        try:
            with open(token_file, encoding="utf-8", errors="replace") as stream:
                token = stream.read(65536).strip()
        except OSError as error:
            raise ConfigurationError(f"{origin} cannot be read: {error.strerror}") from None
    elif os.environ.get("PENSTOCK_TOKEN", "").strip():
        token, origin = os.environ["PENSTOCK_TOKEN"].strip(), "PENSTOCK_TOKEN"
    if token == "":
        raise ConfigurationError(f"{origin} is empty: it must hold the registry's token")
    client = RegistryClient(registry, token=token, token_origin=origin)
    if client.in_the_clear:
        say(
            f"warning: the token goes to {client.url} unencrypted, for everybody on the way to read; "
            "use https",
            fg="yellow",
        )
    return client
