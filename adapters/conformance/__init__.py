"""What every adapter must do, as checks that run against any of them."""

from adapters.conformance.cases import full_case
from adapters.conformance.checks import CHECKS, Check

__all__ = ["CHECKS", "Check", "full_case"]
