"""What proves that something is in the log, and who checks it offline."""
