"""What can go wrong with a local broker.

BrokerError
├── JavaNotFoundError   no usable Java runtime
├── JarsError           a library could not be downloaded, or is not what the lock says
├── PortInUseError      something else listens on the port
├── DataDirectoryError  the data directory cannot be written, is in use, or belongs to another broker
└── BrokerStartError    Kafka ended, or did not become usable in time

Every message says in one line what happened, to which thing, and what to do.
"""


class BrokerError(Exception):
    """A local Kafka broker cannot do what was asked."""


class JavaNotFoundError(BrokerError):
    """No Java runtime of a sufficient version was found."""


class JarsError(BrokerError):
    """A library of Kafka's could not be downloaded, or does not have the locked hash."""


class PortInUseError(BrokerError):
    """Something else listens on the port."""


class DataDirectoryError(BrokerError):
    """The data directory cannot be written, is in use, or belongs to another broker."""


class BrokerStartError(BrokerError):
    """Kafka ended while it was starting, or was not usable in time. The message names the log."""
