"""Where private keys live, by URI. So far `file:`, an encrypted key file."""

from keys.custody.file import (
    STRONG,
    Custody,
    KdfCost,
    create_custody,
    open_custody,
)

__all__ = ["STRONG", "Custody", "KdfCost", "create_custody", "open_custody"]
