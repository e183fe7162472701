"""The person's rights at this gateway: who got what of hers, her copy, corrections, stop, erasure."""
