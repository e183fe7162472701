"""Step 7: from the delivery table to the recipient, with the rules asked again."""
