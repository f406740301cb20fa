"""What every Penstock service needs around its job: settings, Kafka clients, lifecycle, metrics, events and logs."""
