"""One module or folder per kind of case system."""
