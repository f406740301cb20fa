"""A TLS server's certificate and key in a directory where others renew them.

    certificates = Certificates("/certificates")     # ConfigurationError if there are none, or unusable ones
    server = await loop.create_server(..., ssl=certificates.context)

There is no timer: the files are looked at whenever it matters what is in them, that is for each new
connection, and when a probe or a scrape asks. They are small, and in Kubernetes in memory. What was looked at
is known by its content, so it does not matter how it was replaced.

Python's public `ssl` tells what is in a certificate only to a peer that has verified it. So each new pair
first shakes hands with itself, in memory: this proves that the pair can serve, besides.
"""

from __future__ import annotations

import hashlib
import logging
import os
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from servicekit.exceptions import ConfigurationError
from servicekit.logs import fields

log = logging.getLogger(__name__)

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
"""The names that a Secret of type kubernetes.io/tls has for them."""

_IGNORE_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which `ssl` has no name: an expired one can be read, too."""
_MISMATCH: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL calls it; the last one if there is a certificate, but none for a key of this kind."""
_MAX_FLIGHTS: Final = 10
"""A handshake takes two or three flights a side; more means that it never ends."""
_MAX_TRIES: Final = 3


class _Unusable(Exception):
    """Why the files hold no pair that can serve."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A certificate and its key, loaded; `expires` is Unix time."""

    context: ssl.SSLContext
    expires: float


class Certificates:
    """The newest usable pair in `directory`. Any thread may ask.

    A pair that cannot be used (half-written, of two kinds, expired) is logged once, and the one before
    stays. At the start there is none before: ConfigurationError. One that has expired is taken then, as
    nothing is worse for it; `problem` says so.
    """

    def __init__(self, directory: str) -> None:
        self._certificate = os.path.join(directory, CERTIFICATE)
        self._key = os.path.join(directory, KEY)
        self._lock = threading.Lock()
        self._refused: str | None = None
        try:
            seen, self._pair = self._load()
        except _Unusable as error:
            raise ConfigurationError(
                f"no certificate for the webhook: {error}. Mount a Secret of type kubernetes.io/tls at "
                f"{directory}, or run without injection: leave PENSTOCK_WEBHOOK_CERTIFICATES out"
            ) from None
        self._seen: bytes | None = seen
        self.context = _server_context()
        """For listeners: each connection gets the newest pair."""
        self.context.sni_callback = self._choose

    @property
    def expires(self) -> float:
        """Until when the certificate in use holds, as Unix time."""
        return self._newest().expires

    @property
    def refused(self) -> str | None:
        """Why what is in the files now is not in use; None: it is."""
        self._newest()
        return self._refused

    @property
    def problem(self) -> str | None:
        """What keeps clients from trusting the pair in use; None: nothing that could be known here."""
        expires = self._newest().expires
        if expires > time.time():
            return None
        return (
            f"{self._certificate} expired on {_date(expires)}, so the API server refuses all pods that ask "
            f"for a sidecar: renew it"
        )

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        # Called for each handshake, also without a server name.
        connection.context = self._newest().context

    def _newest(self) -> _Pair:
        with self._lock:
            try:
                _, seen = self._look()
            except _Unusable as error:
                self._refuse(None, error)
                return self._pair
            if seen == self._seen:
                return self._pair
            try:
                self._seen, pair = self._load()
                if pair.expires <= time.time() < self._pair.expires:
                    raise _Unusable(f"{self._certificate} expired on {_date(pair.expires)}")
            except _Unusable as error:
                self._refuse(seen, error)
                return self._pair
            self._pair, self._refused = pair, None
            log.info("renewed the webhook's certificate", extra=fields(expires=_date(pair.expires)))
            return pair

    def _refuse(self, seen: bytes | None, error: _Unusable) -> None:
        if str(error) != self._refused:
            log.error(
                "cannot use the webhook's new certificate: %s; going on with the one that expires on %s",
                error,
                _date(self._pair.expires),
            )
        self._seen, self._refused = seen, str(error)

    def _load(self) -> tuple[bytes, _Pair]:
        """Load what is there, and give its digest. Raises _Unusable."""
        for _ in range(_MAX_TRIES):
            files, seen = self._look()
            try:
                pair: _Pair | None = self._loaded(files)
                reason = ""
            except _Unusable as error:
                pair, reason = None, str(error)
            # Whatever was loaded while they were replaced may be half of each.
            if (files, seen) == self._look():
                if pair is None:
                    raise _Unusable(reason)
                return seen, pair
        raise _Unusable(f"{self._certificate} and {KEY} change all the time")

    def _look(self) -> tuple[tuple[str, str], bytes]:
        """Say where certificate and key really are now, and their digest.

        Kubernetes replaces mounted files by one symbolic link to the directory of both: of one such directory
        they always are a pair.
        """
        for tries in range(_MAX_TRIES, 0, -1):
            certificate = os.path.realpath(self._certificate)
            key = os.path.join(os.path.dirname(certificate), KEY)
            files = (certificate, key if os.path.exists(key) else os.path.realpath(self._key))
            digest = hashlib.sha256()
            try:
                for path in files:
                    with open(path, "rb") as file:
                        digest.update(hashlib.sha256(file.read()).digest())
                return files, digest.digest()
            except OSError as error:
                # A directory that was replaced since goes; one that was not is looked at in vain.
                if tries == 1:
                    name = self._certificate if path == certificate else self._key
                    raise _Unusable(f"cannot read {name}: {error.strerror}") from None
        raise AssertionError("the last try returns or raises")

    def _loaded(self, files: tuple[str, str]) -> _Pair:
        context = _server_context()
        certificate, key = files
        try:
            context.load_cert_chain(certificate, key, password=self._refuse_password)
            return _Pair(context, _expiry(context, certificate))
        except ssl.SSLError as error:
            if error.reason in _MISMATCH:
                raise _Unusable(f"{self._key} is not the key of {self._certificate}") from None
            raise _Unusable(
                f"{self._certificate} and {KEY} are not a server's certificate and its key, in PEM "
                f"({error.reason or error.strerror or 'unreadable'})"
            ) from None
        except OSError as error:
            raise _Unusable(f"cannot read {self._certificate} and {KEY}: {error.strerror}") from None

    def _refuse_password(self) -> str:
        # Otherwise OpenSSL would ask for it at the terminal.
        raise _Unusable(f"{self._key} is encrypted: store it without a passphrase")


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _expiry(context: ssl.SSLContext, certificate: str) -> float:
    """Shake hands with a server of this context, and say until when its certificate holds, as Unix time."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(certificate)
    # The certificate itself is what is trusted, whoever has signed it.
    trusting.verify_flags |= ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _IGNORE_TIME)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server)
    for _ in range(_MAX_FLIGHTS):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    described = client.getpeercert()
    if not described:
        raise _Unusable(f"{certificate} does not get through a handshake")
    return float(ssl.cert_time_to_seconds(str(described["notAfter"])))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
