"""What can go wrong in a Penstock service, in words for the person who must act.

PenstockError                 something that a person can mend; exit code 1
├── ConfigurationError        we were used wrongly: option, environment or file; exit code 2
├── KafkaUnavailable          no broker answers (yet)
├── NotAuthorized             Kafka does not believe who we are, or does not let us do it
├── TopicError                the trouble is with one topic
│   ├── UnknownTopic          it is not there (or we may not see it)
│   ├── TopicExists           it was to be made and is there already
│   └── TopicRefused          it is there but cannot carry what we would put into it
├── KafkaFailed               Kafka said no for any other reason
│   └── ClientLost            this Kafka client can never be used again: make another one
├── StateError                our own files (ledger, delivered log, lock) are in trouble
│   └── StateInUse            somebody else has locked it
└── NotOurEvent               a record on an events topic is nothing that we wrote

A message says what happened, to which file, topic, partition or offset, and what to do. It fits on one line
and never holds a secret.
"""

from __future__ import annotations

import copy
import re
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException


class PenstockError(Exception):
    """Something that a person can mend. Its text is all that this person gets to see.

    `exit_code` is what a console script ends with when it lets the error through.
    """

    exit_code = 1


class ConfigurationError(PenstockError):
    """An option, environment variable or file says what cannot be done. Nothing was started."""

    exit_code = 2


class KafkaUnavailable(PenstockError):
    """No broker answers. Trying again later is the cure, or mending the network or the address."""


class NotAuthorized(PenstockError):
    """Kafka does not accept our credentials or certificate, or an ACL is missing."""


class TopicError(PenstockError):
    """The trouble is with one topic."""


class UnknownTopic(TopicError):
    """The topic does not exist, or Kafka hides it from us because an ACL is missing."""


class TopicExists(TopicError):
    """The topic was to be made, and someone has made it."""


class TopicRefused(TopicError):
    """The topic exists but cannot carry our records: its configuration would refuse or destroy them."""


class KafkaFailed(PenstockError):
    """Kafka refused or gave up for a reason that we have no better word for."""


class ClientLost(KafkaFailed):
    """A client has met a fatal error: what it still held is gone, and it must be replaced by another one."""


class StateError(PenstockError):
    """A file of our own (ledger, delivered log, lock, id) cannot be used."""


class StateInUse(StateError):
    """Somebody else has locked it."""


class NotOurEvent(PenstockError):
    """A record on an events or receipts topic that is not an event of Penstock."""


_Error = TypeVar("_Error", bound=PenstockError)


def again(error: _Error) -> _Error:
    """Return a new error that says the same: to keep it, or to raise it once more.

    One that was raised holds, by its traceback, all that the functions on its way held, such as a Kafka
    client with its threads; and a function that holds it as well makes a circle, which only a garbage
    collection ends.
    """
    return copy.copy(error)


# What librdkafka puts behind a reason: "(after 301ms in state AUTH_REQ, 3 identical error(s) suppressed)".
_DURATION = re.compile(r" \(after \d+ms in state [^()]*(?:\(s\)[^()]*)?\)")

_UNKNOWN_TOPIC = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's local codes are public constants
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)
_DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_AUTHENTICATION = frozenset(
    {
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_UNAVAILABLE = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
    }
)
_FATAL = frozenset({KafkaError._FATAL, KafkaError._FENCED, KafkaError._GAPLESS_GUARANTEE})  # noqa: SLF001
_TOO_LARGE = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}
)


def explain_kafka(
    error: KafkaError | KafkaException, *, topic: str | None = None, bootstrap: str | None = None
) -> PenstockError:
    """Say what librdkafka's `error` means and what to do about it, as an exception to raise.

    `topic` and `bootstrap` (the value of bootstrap.servers) are named in the message where they matter.
    librdkafka's own texts never hold property values that are secret, so they are passed on.
    """
    kafka_error = _kafka_error_of(error)
    if kafka_error is None:
        return KafkaFailed(f"Kafka: {error}")
    code = kafka_error.code()
    said = _DURATION.sub("", " ".join(kafka_error.str().split()))
    at = f" at {bootstrap}" if bootstrap else ""
    named = f"topic {topic!r}" if topic else "the topic"

    if kafka_error.fatal() or code in _FATAL:
        return ClientLost(f"the Kafka client{at} has met a fatal error and must be replaced: {said}")
    if code in _UNKNOWN_TOPIC:
        return UnknownTopic(
            f"{named} does not exist{at}, or is hidden from us: check its name, make it (penstock "
            f"create-topic), or allow Describe on it (kafka-acls)"
        )
    if code in _DENIED:
        return NotAuthorized(_explain_denied(code, named, at, said))
    if code in _AUTHENTICATION:
        return NotAuthorized(
            f"Kafka{at} does not accept our credentials ({said}): check security.protocol, sasl.mechanism, "
            f"sasl.username and sasl.password"
        )
    if code == KafkaError._SSL:  # noqa: SLF001
        return NotAuthorized(
            f"no TLS connection to Kafka{at} ({said}): check security.protocol, ssl.ca.location, and the "
            f"certificate and key, if the broker asks for one"
        )
    if code in _UNAVAILABLE:
        return KafkaUnavailable(
            f"no Kafka broker answers{at} ({said}): check the address (--bootstrap-servers), the network, "
            f"and that security.protocol is what the broker speaks"
        )
    if code == KafkaError.TOPIC_ALREADY_EXISTS:
        return TopicExists(f"{named} exists already{at}")
    if code in _TOO_LARGE:
        return TopicRefused(
            f"{named} refuses a record of this size ({said}): lower the chunk size (--chunk-size) or raise "
            f"the topic's max.message.bytes"
        )
    if code == KafkaError._INVALID_ARG:  # noqa: SLF001
        return ConfigurationError(f"Kafka property refused: {said}")
    about = f"{named}: " if topic else ""
    return KafkaFailed(f"Kafka{at} refused: {about}{said} ({kafka_error.name()})")


def _kafka_error_of(error: KafkaError | KafkaException) -> KafkaError | None:
    if isinstance(error, KafkaError):
        return error
    first = error.args[0] if error.args else None
    return first if isinstance(first, KafkaError) else None


def _explain_denied(code: int, named: str, at: str, said: str) -> str:
    if code == KafkaError.GROUP_AUTHORIZATION_FAILED:
        what, cure = "use the consumer group", "allow Read on the group"
    elif code == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
        what, cure = "do that to the cluster", "allow it (for an idempotent producer: IdempotentWrite)"
    elif code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        what, cure = "use the transactional id", "allow Write on it"
    else:
        what, cure = f"use {named}", "allow Read, Write or Describe on it"
    return f"Kafka{at} does not let us {what} ({said}): {cure} with kafka-acls"
