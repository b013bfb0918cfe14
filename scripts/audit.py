"""Look for known vulnerabilities in what is installed, with pip-audit; fail where one is found.

The service that knows them is on the network. Where it cannot be reached, or answers for no
package, this says so in one line and does not fail: nothing was found, and nothing was looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

COMMAND = ("-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable")
SECONDS = 120


def judge(report: str, errors: str) -> tuple[list[str], bool]:
    """Return what to say about pip-audit's report, and whether a vulnerability was found."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        reason = errors.strip().splitlines()[-1:] or ["no answer"]
        return [f"known vulnerabilities not looked up: {reason[0][:200]}"], False
    looked_up = [package for package in packages if "vulns" in package]
    found = [
        f"{package['name']} {package['version']}: {known['id']}, fixed in"
        f" {', '.join(known['fix_versions']) or 'no version yet'}"
        for package in looked_up
        for known in package["vulns"]
    ]
    if not looked_up:
        return [
            f"known vulnerabilities not looked up: no answer for {len(packages)} packages"
        ], False
    return [*found, f"{len(looked_up)} of {len(packages)} packages looked up"], bool(found)


def main() -> int:
    """Run pip-audit on this Python's packages."""
    try:
        result = subprocess.run(
            [sys.executable, *COMMAND], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        report, errors = result.stdout, result.stderr
    except subprocess.TimeoutExpired:
        report, errors = "", f"no answer in {SECONDS} s"
    lines, found = judge(report, errors)
    print("\n".join(lines))
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
