"""Case systems that are UNICEF's Primero, version 2. See `system`."""

from adapters.systems.primero.system import PrimeroSystem, make

__all__ = ["PrimeroSystem", "make"]
