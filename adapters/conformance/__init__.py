"""What every adapter must do, as checks that run against any of them."""

from adapters.conformance.cases import full_case
from adapters.conformance.checks import CHECKS, Check
from adapters.conformance.report import Report, Result
from adapters.conformance.run import conform

__all__ = ["CHECKS", "Check", "Report", "Result", "conform", "full_case"]
