"""DirectoryStreams for tests: the examples, changes of them, and any valid ones."""

import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from penstock_operator.objects import Installation
from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.kafka import CHOICES, NUMBERS, TEXTS

EXAMPLES = Path(__file__).parents[1] / "operator/examples"
INSTALLATION = Installation(
    uploader_image="penstock/uploader:0.1.0", downloader_image="penstock/downloader:0.1.0"
)


def laid_over(base: Any, change: Any) -> Any:
    """The base with a change laid over it; None takes a field away."""
    if not isinstance(change, dict):
        return change
    base = base if isinstance(base, dict) else {}
    merged = base | {name: laid_over(base.get(name), value) for name, value in change.items()}
    return {name: value for name, value in merged.items() if value is not None}


def example(name: str, **spec: Any) -> DirectoryStream:
    """An example of operator/examples, with changes of its spec."""
    body = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text("utf-8"))
    metadata = {"namespace": "lab", "uid": "0b0c9d5c-6f0e-4d4a-9d9b-2f9f4f6f0a11"}
    return DirectoryStream.parse(laid_over(body, {"metadata": metadata, "spec": spec}))


# Any valid stream

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
"""What people write where anything may be written; shells, Kubernetes and YAML have special signs."""
_SPECIAL = st.sampled_from(["$(POD_NAME)", "$$", "a b", 'a"b', "a\nb", "x=y", "[a]*", "{", "#", "Ω", "$"])
_WORD = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_GROUP = st.from_regex(r"[a-zA-Z0-9._-]{1,20}", fullmatch=True)
_KEY = st.from_regex(r"[-._a-zA-Z0-9]{1,12}", fullmatch=True)
_ID = st.integers(1, 2**31 - 1)


def _part(text: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return text.map(lambda part: part.replace("/", "")).filter(lambda part: part not in ("", ".", ".."))


_PARTS = st.lists(_part(_TEXT | _SPECIAL | _WORD), min_size=1, max_size=3)
_ABSOLUTE = _PARTS.map(lambda parts: "/" + "/".join(parts))
_RELATIVE = _PARTS.map("/".join)
_PREFIX = st.lists(
    _part((_TEXT | _WORD).map(lambda text: re.sub("[{}]", "", text))) | st.sampled_from(["{host}", "{pod}"]),
    max_size=3,
).map("/".join)
_GLOB = (_TEXT | _SPECIAL | st.sampled_from(["*.raw", "run1/**"])).filter(lambda glob: glob.strip("/"))


def _object(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


_PROPERTIES = _object(
    {},
    **{name: st.integers(0, 9000).map(str) for name in sorted(NUMBERS - {"session.timeout.ms"})},
    **{name: st.sampled_from(words) for name, words in CHOICES.items()},
    **dict.fromkeys(sorted(TEXTS), _TEXT | _SPECIAL),
).filter(lambda given: given.get("group.protocol") != "consumer" or "heartbeat.interval.ms" not in given)
_CA_PLACE = _object({"name": _WORD}, key=_KEY)
_KAFKA = _object(
    {"bootstrapServers": st.sampled_from(["kafka:9092", "a:1, b.c:2", "[::1]:9092"])},
    properties=_PROPERTIES,
    authSecretRef=_object(
        {"name": _WORD},
        mechanism=st.sampled_from(["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]),
        username=_TEXT | _SPECIAL,
        usernameKey=_KEY,
        passwordKey=_KEY,
    ),
    tls=_object(
        {},
        ca=_object({"secret": _CA_PLACE}) | _object({"configMap": _CA_PLACE}),
        clientSecretRef=_object({"name": _WORD}, certificateKey=_KEY, privateKeyKey=_KEY),
    ),
)
_CLAIM = _object({"claimName": _WORD}, subPath=_RELATIVE)
_RESOURCES = _object(
    {},
    requests=_object({}, cpu=st.sampled_from(["0.1", "100m"]), memory=st.just("64Mi")),
    limits=_object({}, cpu=st.just("2"), memory=st.sampled_from(["1.5Gi", "1G"])),
)
_SELECTOR = _object({"matchLabels": st.dictionaries(_WORD, _WORD, min_size=1, max_size=2)})
_TERM = _object({"topologyKey": st.just("kubernetes.io/hostname")}, labelSelector=_SELECTOR)
_POD = _object(
    {},
    labels=st.dictionaries(_WORD, _WORD, max_size=2),
    annotations=st.dictionaries(_WORD, _TEXT, max_size=2),
    nodeSelector=st.dictionaries(_WORD, _WORD, max_size=2),
    affinity=_object(
        {},
        podAffinity=_object({}, requiredDuringSchedulingIgnoredDuringExecution=st.lists(_TERM, max_size=2)),
    ),
    tolerations=st.lists(_object({"operator": st.just("Exists")}, key=_WORD), max_size=2),
    topologySpreadConstraints=st.lists(
        _object(
            {
                "maxSkew": st.integers(1, 3),
                "topologyKey": _WORD,
                "whenUnsatisfiable": st.just("ScheduleAnyway"),
            },
            labelSelector=_SELECTOR,
        ),
        max_size=2,
    ),
    priorityClassName=_WORD.filter(lambda name: not name.startswith("system-")),
    securityContext=_object(
        {},
        runAsUser=_ID,
        runAsGroup=_ID,
        fsGroup=_ID,
        fsGroupChangePolicy=st.sampled_from(["OnRootMismatch", "Always"]),
        supplementalGroups=st.lists(_ID, max_size=2, unique=True),
    ),
)


def _outside(source: dict[str, Any]) -> bool:
    after, inside = source.get("after", {}), source.get("path", "/").rstrip("/") + "/"
    return "moveTo" not in after or ("path" in source and not (after["moveTo"] + "/").startswith(inside))


_AFTER = (
    _object({}, action=st.sampled_from(["Keep", "Delete"]))
    | _object({"action": st.just("Move")}, moveTo=_ABSOLUTE)
    | _object(
        {"action": st.sampled_from(["Keep", "Delete"]), "when": st.just("Delivered")},
        receiptFrom=st.lists(_GROUP, max_size=2),
    )
)
_WATCHED: dict[str, Any] = {
    "prefix": _PREFIX,
    "include": st.lists(_GLOB, max_size=3),
    "exclude": st.lists(_GLOB, max_size=3),
    "after": _AFTER,
    "state": _object({"persistentVolumeClaim": _CLAIM}),
}
_DRAIN = st.integers(0, 86_400)
_SOURCE = (
    st.just({})
    | _object(
        {
            "uploader": _object(
                {"mode": st.just("Deployment"), "claimName": _WORD},
                drainSeconds=_DRAIN,
                resources=_RESOURCES,
                pod=_POD,
            )
        },
        path=_ABSOLUTE | st.just("/"),
        **_WATCHED,
    )
    | _object(
        {
            "path": _ABSOLUTE,
            "uploader": _object(
                {"mode": st.just("Sidecar"), "podSelector": _SELECTOR},
                drainSeconds=_DRAIN,
                resources=_RESOURCES,
            ),
        },
        **_WATCHED,
    )
).filter(_outside)

_TOPIC = _object({"name": _WORD}) | _object(
    {"name": _WORD, "management": st.just("Create"), "partitions": st.integers(1, 12)},
    replicationFactor=st.integers(1, 3),
    config=_object({}, **{"retention.ms": st.just("3600000")}),
)
_LIMITS: dict[str, Any] = {
    "minReplicas": st.integers(0, 4),
    "maxReplicas": st.integers(4, 20),
    "scaleDownStabilizationSeconds": st.sampled_from([0, 60, 300]),
    "idleSeconds": st.sampled_from([0, 60, 300]),
}
_SCALED = _object(
    {},
    scaling=_object({}, partitionsPerReplica=st.integers(1, 4), **_LIMITS)
    | _object({"mode": st.just("Lag"), "lagPerReplica": st.integers(1, 200)}, **_LIMITS),
) | _object({"scaling": st.just({"mode": "External"}), "replicas": st.integers(0, 20)})


def _deletable(spec: dict[str, Any]) -> bool:
    return "deletionPolicy" not in spec or "management" in spec["topic"]


BODIES = _object(
    {
        "metadata": _object({"name": _WORD, "namespace": _WORD, "uid": st.uuids().map(str)}),
        "spec": _object(
            {
                "kafka": _KAFKA,
                "topic": _TOPIC,
                "downloader": st.builds(
                    dict.__or__,
                    _object(
                        {"destination": _object({"persistentVolumeClaim": _CLAIM})},
                        consumerGroup=_GROUP,
                        onConflict=st.sampled_from(["Replace", "KeepBoth", "Skip"]),
                        resources=_RESOURCES,
                        pod=_POD,
                    ),
                    _SCALED,
                ),
            },
            suspend=st.booleans(),
            source=_SOURCE,
            deletionPolicy=st.just("Delete"),
        ).filter(_deletable),
    }
)
STREAMS = BODIES.map(DirectoryStream.parse)
"""Any valid stream: what is refused is no stream, and fails the test that draws it."""
