"""Cases of a national file, on their way to the gateway: read, sent in bulk, put aside."""
