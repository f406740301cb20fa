"""Delivers files from a Kafka topic to a directory, and gives a receipt for each."""
