"""A PostgreSQL in the cluster of the tests, for registries that share their database.

The image has to be in the cluster: it is built from the Dockerfile beside this file. Data go with the pod.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import Kubectl
from tests.e2e.installed import RESTRICTED, RESTRICTED_POD, apply

IMAGE = "penstock/test-postgres:0.1.0"
NAME = "postgres"
PORT = 5432
# The user has no name in the image. Authentication is by password from everywhere, the pod itself included.
_START = """
[ -d /data/pg ] || initdb --encoding=UTF8 --pgdata=/data/pg --username=penstock --pwfile=/secret/password \\
  --auth=scram-sha-256 --no-sync >/dev/null
echo 'host all all all scram-sha-256' >> /data/pg/pg_hba.conf
exec postgres -D /data/pg -c listen_addresses='*' -c unix_socket_directories=/data -c fsync=off
"""


@contextmanager
def postgres(kubectl: Kubectl) -> Iterator[str]:
    """Run one in kubectl's namespace; the URL of its database, with the password."""
    password = secrets.token_hex(16)
    meta = {"name": NAME, "labels": {"app": NAME}}
    container = {
        "name": NAME,
        "image": IMAGE,
        "command": ["sh", "-euc", _START],
        "securityContext": RESTRICTED,
        "readinessProbe": {
            "tcpSocket": {"port": PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
        },
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "secret", "mountPath": "/secret", "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {
            "securityContext": RESTRICTED_POD,
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": [
                {"name": "data", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
                {"name": "secret", "secret": {"secretName": NAME}},
            ],
        },
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"password": password}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT}]},
    }
    apply(kubectl, secret, service, pod)
    ready = kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=90s")
    assert ready.ok, ready.err + kubectl("describe", f"pod/{NAME}").out + kubectl("logs", NAME).out
    yield f"postgresql://penstock:{password}@{NAME}.{kubectl.namespace}.svc:{PORT}/postgres"
