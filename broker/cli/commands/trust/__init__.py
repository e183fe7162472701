"""Who is who, and on what they have agreed."""
