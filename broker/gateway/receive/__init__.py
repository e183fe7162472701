"""Steps 8 to 10: from bytes that nobody has checked to a filed case and signed receipts."""
