"""What an auditor asks for."""
