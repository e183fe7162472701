"""Pure decisions: values in, codes out. No clock, no database, no network."""
