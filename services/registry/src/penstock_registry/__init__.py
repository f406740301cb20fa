"""The registry: what is known of every file of every stream, and the proof of delivery."""
