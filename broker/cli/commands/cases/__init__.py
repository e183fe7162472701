"""What a worker does with a case."""
