"""What can go wrong in the registry, beyond what every service knows (see `servicekit.exceptions`).

PenstockError
├── DatabaseUnavailable       the database does not answer (yet)
├── DatabaseRefused           the database is one that this program cannot use
├── WebServerEnded            the page and the API are gone, though nobody stopped them
└── BadQuestion               what was asked for contradicts itself: a cursor of another query, for example
"""

from __future__ import annotations

from servicekit.exceptions import PenstockError


class DatabaseUnavailable(PenstockError):
    """The database does not answer. Trying again later is the cure, or mending it."""


class DatabaseRefused(PenstockError):
    """The database is too old, is not UTF-8, or was made by a newer registry. Nothing was changed."""


class WebServerEnded(PenstockError):
    """The web server has ended by itself."""


class BadQuestion(PenstockError):
    """What was asked for cannot be answered as it was put."""
