"""The FHIR adapter against a FHIR R4 server that is not ours: Medplum's, from npm.

    python tests/interop/fhir/run.py

Installs the packages into a temporary folder, from the registry that npm is configured for, starts
the server on this machine, and tries every promise of the port on it. Exits with 1 if one is broken.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from adapters.base import Tools  # noqa: E402
from adapters.conformance import conform  # noqa: E402


def main() -> int:
    """Run it; returns the exit status."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        sys.exit("node and npm are needed")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "server.mjs"):
            shutil.copy(HERE / name, folder)
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(install, cwd=folder, check=True, timeout=300)
        with subprocess.Popen(
            # Node 20 has a WebSocket, which the library looks for, behind this option.
            [node, "--experimental-websocket", "server.mjs"],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/fhir"
            report = conform("fhir", {"url": url}, Tools(), now=datetime.now(UTC), kills=5)
            server.terminate()
    for result in report.results:
        sys.stdout.write(f"{result.outcome} {result.check} {result.complaint or ''}\n")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
