"""What ends at the hub by time or by order: ways, waits, sealed bytes."""
