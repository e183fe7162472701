"""What the case system and the exchange tell each other after the filing: decisions, both ways."""
