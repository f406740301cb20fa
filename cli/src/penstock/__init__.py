"""Stream files from watched directories through Apache Kafka to where they are needed, with proof."""
