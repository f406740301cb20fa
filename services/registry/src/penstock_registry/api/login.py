"""Who may ask where there is a token: who has the token, or a cookie that was given for it.

The cookie says until when it is good, signed with a key that is made of the token: registries that share a
token accept each other's cookies, and a new token ends all of them.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

COOKIE: Final = "penstock_login"
COOKIE_SECONDS: Final = 12 * 3600
WRONG_TOKEN_SECONDS = 0.5
"""So long an answer to a wrong token takes."""
_PURPOSE: Final = b"penstock registry: login cookie, version 1"


async def hesitate() -> None:
    """Let whoever guesses wait, and nobody else."""
    await asyncio.sleep(WRONG_TOKEN_SECONDS)


class Login:
    """Knows one token."""

    def __init__(self, token: str, *, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._key = hmac.digest(self._token, _PURPOSE, sha256)
        self._clock = clock

    def is_token(self, given: str) -> bool:
        """Whether this is the token. Takes as long for any that is as long."""
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token)

    def cookie(self) -> str:
        """Return a cookie that is good from now on."""
        until = str(int(self._clock()) + COOKIE_SECONDS)
        return f"{until}.{self._signature(until)}"

    def is_cookie(self, given: str) -> bool:
        """Whether this is a cookie of ours, and still good."""
        until, _, signature = given.partition(".")
        if not hmac.compare_digest(
            signature.encode("utf-8", "surrogatepass"), self._signature(until).encode()
        ):
            return False
        return int(until) > self._clock()

    def admits(self, authorization: str | None, cookies: Mapping[str, str]) -> bool:
        """Whether a request with this Authorization header and these cookies may be answered."""
        scheme, _, credentials = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(credentials.strip()):
            return True
        return COOKIE in cookies and self.is_cookie(cookies[COOKIE])

    def _signature(self, until: str) -> str:
        return hmac.digest(self._key, until.encode("utf-8", "surrogatepass"), sha256).hex()
