"""What every Penstock service needs around its job: settings, Kafka, lifecycle, metrics, events, logs."""
