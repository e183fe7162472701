"""Case systems that speak FHIR R4 over REST. See `system`."""

from adapters.systems.fhir.system import FhirSystem, make

__all__ = ["FhirSystem", "make"]
