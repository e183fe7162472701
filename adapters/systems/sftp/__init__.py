"""Case systems that exchange HTCDS files on an SFTP server, sealed or plain. See `system`."""

from adapters.systems.sftp.system import SftpSystem, make

__all__ = ["SftpSystem", "make"]
