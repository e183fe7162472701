"""What concerns the person herself: consent, rights, what she is told, what protects her."""
