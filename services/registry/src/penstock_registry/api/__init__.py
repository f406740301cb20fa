"""What is known, by HTTP."""
