"""The token that programs and people prove with that they may look, and where it comes from."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import tempfile

from penstock_registry.settings import RegistrySettings, check_token
from servicekit.exceptions import ConfigurationError

log = logging.getLogger(__name__)

TOKEN_FILE = "token"  # noqa: S105 - its name


def access_token(settings: RegistrySettings) -> str | None:
    """Return the token that is asked for; None: nobody is asked, since only this machine can reach us.

    Where one is needed and none was given, one is made and kept in the state directory. Raises
    ConfigurationError when it cannot be read or kept.
    """
    if settings.token is not None:
        return settings.token.get_secret_value()
    if settings.token_file is not None:
        return _read(settings.token_file, "--token-file (PENSTOCK_TOKEN_FILE)")
    if settings.is_loopback:
        return None
    path = os.path.join(make_state_directory(settings), TOKEN_FILE)
    if not os.path.exists(path):
        _make(path)
    token = _read(path, "the registry's token")
    log.info("the page and the API at %s ask for the token in %s", settings.host, path)
    return token


def make_state_directory(settings: RegistrySettings) -> str:
    """Return the state directory, made for nobody but us if it is not there. Raises ConfigurationError."""
    directory = settings.state_directory
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the state directory {directory!r} cannot be made: {error.strerror}; "
            f"name another one: --state-dir (PENSTOCK_STATE_DIR)"
        ) from None
    return directory


def _make(path: str) -> None:
    """Make a token. Of several that do so at once one wins; nobody ever sees half a file."""
    try:
        number, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".token-")  # mode 0600
        try:
            with os.fdopen(number, "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
    except OSError as error:
        raise ConfigurationError(
            f"no token can be kept in {path!r}: {error.strerror}; "
            f"give one: --token-file (PENSTOCK_TOKEN_FILE), or another --state-dir"
        ) from None


def _read(path: str, what: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            token = file.read().strip()
        check_token(token)
    except OSError as error:
        raise ConfigurationError(f"{what}: {path!r} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(
            f"{what}: what is in {path!r} must be at least 16 printable ASCII characters, without spaces"
        ) from None
    return token
