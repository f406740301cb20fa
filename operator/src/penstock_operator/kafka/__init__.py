"""The operator's dealings with Kafka. Synchronous, thread-safe, bounded in time; no Kubernetes in here.

    connection = connect(spec.kafka, References(auth=secret_data))   # no I/O; ConnectionInvalid says why not
    with clusters.use(connection) as cluster:                        # shared by all streams that log in alike
        observed = observe(cluster, [Watched(topic, group), ...])    # one reading of many streams
        renew_each(cluster, [Watched(topic, group), ...])            # keep idle groups' offsets
        prepare(cluster, TopicWanted.of(spec.topic), created_topic_id)
        delete(cluster, topic, group, ...)

- `connection`: who connects where, from what a stream says; `clusters`: one client for each, shared
- `observation`: topics, offsets, groups -> the values of `penstock_operator.reading`; `groups`: what Kafka
  says of consumer groups; `checkpoints`: what a commit says of unfinished uploads (pure)
- `renewal`, `topics`: what is changed; `conditions`: what a topic's state means, in words (pure)
"""

from penstock_operator.kafka.clusters import Cluster, Clusters
from penstock_operator.kafka.conditions import failed_read, topic_condition
from penstock_operator.kafka.connection import Connection, ConnectionInvalid, References, connect
from penstock_operator.kafka.observation import Observation, Watched, observe
from penstock_operator.kafka.renewal import RENEWAL_SECONDS, Renewal, renew, renew_each
from penstock_operator.kafka.topics import Deletion, Prepared, TopicWanted, delete, prepare

__all__ = [
    "RENEWAL_SECONDS",
    "Cluster",
    "Clusters",
    "Connection",
    "ConnectionInvalid",
    "Deletion",
    "Observation",
    "Prepared",
    "References",
    "Renewal",
    "TopicWanted",
    "Watched",
    "connect",
    "delete",
    "failed_read",
    "observe",
    "prepare",
    "renew",
    "renew_each",
    "topic_condition",
]
