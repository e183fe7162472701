"""`./run bench`: every measurement, one JSON object on standard output, kept in `bench/results/`."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PARTS = {
    "path": ["--count", "2000"],
    "log": [],
    "mapping": [],
    "adapters": [],
    "scale": [],
    "memory": ["--count", "100000"],
    "retention": [],
    "gateway_scale": [],
}


def main() -> None:
    """Run the parts that were named, or all."""
    parser = argparse.ArgumentParser(prog="./run bench")
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help=", ".join(PARTS))
    parser.add_argument("--save", action="store_true", help="write bench/results/<part>.json")
    given = parser.parse_args()
    found = {"machine": {"python": platform.python_version(), "system": platform.system()}}
    for part in given.part or PARTS:
        sys.stderr.write(f"bench: {part}\n")
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{part}", *PARTS[part]],
            cwd=HERE.parent,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found[part] = json.loads(done.stdout)
        if given.save:
            (HERE / "results").mkdir(exist_ok=True)
            text = json.dumps(found[part], indent=2) + "\n"
            (HERE / "results" / f"{part}.json").write_text(text, encoding="utf-8")
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
