"""Streams the files of a watched directory to a Kafka topic."""
