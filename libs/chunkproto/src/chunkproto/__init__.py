"""The records that carry files through Kafka: codecs, chunk plans, digests and assembly state."""
