"""What participants sign besides envelopes and evidence, and whose it is to say."""
