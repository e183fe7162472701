"""Case systems that speak files: HTCDS 2.0 as CSV, in and out of a folder. See `system`."""

from adapters.systems.files.system import FilesSystem, make

__all__ = ["FilesSystem", "make"]
