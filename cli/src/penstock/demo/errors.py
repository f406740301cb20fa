"""What can go wrong in the demo."""

from servicekit.exceptions import PenstockError


class DemoFailed(PenstockError):
    """The demo cannot go on."""
