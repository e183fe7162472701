"""Where plaintext rests: encrypted, under keys that can be destroyed one by one.

    epoch key (custody)  wraps  case key  wraps  item key of (case, section, grant)  seals  item

* Erasing a case, a grant, or one section of them destroys exactly their keys and ciphertexts.
* Rotating the epoch wraps the living case keys anew and destroys the old epoch key: every backup
  taken before is dead, including what had been erased since.
* Each ciphertext is bound to its table, row, case, section and grant: moved to another row, it is
  `VaultTampered`.

On SQLite, `scrub` after the commit leaves nothing of what was erased in the file or its
write-ahead log. On PostgreSQL the server keeps old row versions until they are vacuumed and pages
until they are reused, and its own log as long as it is configured to; there the promise is kept
by the epoch: after `rotate_epoch` none of those bytes opens. Copies that somebody made of the
custody file are beyond both. What we attest says no more than this.

AES-256-GCM throughout, with random 96-bit nonces: a key seals few values (NIST SP 800-38D, 8.3).
"""

from broker.gateway.vault.epoch_keys import EpochKeys
from broker.gateway.vault.vault import NewItem, Vault

__all__ = ["EpochKeys", "NewItem", "Vault"]
