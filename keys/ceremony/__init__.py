"""Ceremonies: who may publish whose keys. Plans changes of the TUF repository that `keys.trust` reads,
and carries them out.

A change is planned (`planning`), signed by as many holders as its roles want (`roles`), each where
they are (`proposal`), and applied by the hub's operator (`repository`), whose online key says that
this is now the newest state. `Repository.delegate_country` and its like do all three at once, where
everybody is present.
"""

from __future__ import annotations

from keys.ceremony.planning import RoleKeys, first_plan
from keys.ceremony.repository import Repository
from keys.ceremony.roles import RoleSigner, new_role_key

__all__ = ["Repository", "RoleKeys", "RoleSigner", "first_plan", "new_role_key"]
