"""The pieces that queries are made of.

Three parts speak of streams, each in its own words:

    the registry     `stream` is a topic, `destination` a consumer group; every replica says the same
    the operator     `namespace` and `stream` are a DirectoryStream's
    uploaders and    say nothing of it: `namespace` and `stream` come with the scrape, as the head of
    downloaders      charts/penstock/files/rules.yaml says

Who joins them goes through the metrics whose names end in `_info`.
"""

from __future__ import annotations

from typing import Final

RATE: Final = "$__rate_interval"
"""A window that holds some scrapes, as Grafana chooses it."""

OF_PROCESS: Final = "on (job, instance)"
"""What a process has one of."""


def known(metric: str, *labels: str, where: str = "") -> str:
    """Give what the registry knows, once, however many replicas say it."""
    return f"max by ({', '.join(labels)}) ({metric}{{{where}}})"


def known_rate(metric: str, *labels: str, where: str = "") -> str:
    """Give how fast a counter of the registry's tables grows."""
    return f"max by ({', '.join(labels)}) (rate({metric}{{{where}}}[{RATE}]))"


def rate(metric: str, *labels: str, where: str = "") -> str:
    """Give how fast a counter of processes grows, all of them together."""
    by = f" by ({', '.join(labels)}) " if labels else ""
    return f"sum{by}(rate({metric}{{{where}}}[{RATE}]))"


def total_rate(metric: str, where: str = "") -> str:
    """Give how fast a counter grows in all; 0 where nobody has counted yet."""
    return f"sum(rate({metric}{{{where}}}[{RATE}])) or vector(0)"


def quantile(share: float, histogram: str, *labels: str, where: str = "") -> str:
    """Give a quantile of a histogram over all processes."""
    by = ", ".join(("le", *labels))
    return f"histogram_quantile({share:g}, sum by ({by}) (rate({histogram}_bucket{{{where}}}[{RATE}])))"


def quantile_by_topic(
    share: float, histogram: str, info: str, where: str = "", by: tuple[str, ...] = ("topic", "destination")
) -> str:
    """Give a quantile by labels of the processes' info metric."""
    of = ", ".join(by)
    joined = f"rate({histogram}_bucket[{RATE}]) * {OF_PROCESS} group_left ({of}) {info}{{{where}}}"
    return f"histogram_quantile({share:g}, sum by (le, {of}) ({joined}))"


def by_topic(metric: str, info: str, *labels: str, where: str = "") -> str:
    """Give how fast a counter of processes grows, by the topic that their info metric names."""
    by = ", ".join(("topic", *labels))
    return f"sum by ({by}) (rate({metric}[{RATE}]) * {OF_PROCESS} group_left (topic) {info}{{{where}}})"


def in_registrys_words(metric: str, where: str) -> str:
    """Give an operator's metric of DirectoryStreams by `stream` (their topic) and `destination`."""
    joined = (
        f"max by (namespace, stream) ({metric}) * on (namespace, stream) "
        f"group_left (topic, destination) {_stream_info(where)}"
    )
    return f'max by (stream, destination) (label_replace({joined}, "stream", "$1", "topic", "(.+)"))'


def names_of_streams(where: str) -> str:
    """Give 1 for each DirectoryStream, by `stream` (its topic), `destination`, and its two own names."""
    named = f'label_replace({_stream_info(where)}, "directory_stream", "$1", "stream", "(.+)")'
    return (
        "max by (stream, destination, namespace, directory_stream) "
        f'(label_replace({named}, "stream", "$1", "topic", "(.+)"))'
    )


def _stream_info(where: str) -> str:
    return f"max by (namespace, stream, topic, destination) (penstock_operator_stream_info{{{where}}})"
