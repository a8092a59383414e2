"""Installs requirements.txt, or the file that is named, line by line into the environment that runs this.

It notes what would not install, and why.

Some of the peers are compiled: without a compiler or a library's headers they are left out, and the others measured.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from contestants import LEFT_OUT

HERE = Path(__file__).resolve().parent
NEEDED = ("setuptools", "falcon", "pygal")
"""Without these there is no benchmark."""
COMPILER = "apt-get install build-essential python3-dev"
HINTS = {
    "bjoern": f"needs a compiler and libev's headers (Debian, Ubuntu: {COMPILER} libev-dev)",
    "uwsgi": f"needs a compiler (Debian, Ubuntu: {COMPILER})",
    "fastwsgi": f"needs a compiler (Debian, Ubuntu: {COMPILER})",
}


def main() -> int:
    """Install; return 1 when something is missing without which nothing can be measured."""
    reasons: dict[str, str] = {}
    file = HERE / (sys.argv[1] if len(sys.argv) > 1 else "requirements.txt")
    for requirement in read_requirements(file.read_text()):
        error = install(requirement)
        if error:
            name = requirement.partition("==")[0].lower()
            reasons[name] = f"{requirement} does not install: {HINTS.get(name, error)}"
            print(f"left out: {reasons[name]}", flush=True)
    LEFT_OUT.write_text(json.dumps(reasons, indent=1) + "\n")
    return int(any(name in reasons for name in NEEDED))


def read_requirements(text: str) -> list[str]:
    """Return the lines that are requirements."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def install(requirement: str) -> str:
    """Install one of them; return pip's own words when it fails, "" when it does not."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return last_error(result.stderr) if result.returncode else ""


def last_error(text: str) -> str:
    """Return the last line of pip's that is an error, without paths and addresses."""
    errors = [line.strip() for line in text.splitlines() if re.match(r"\s*(ERROR|error|fatal)", line)]
    return errors[-1] if errors else "pip gives no reason"


if __name__ == "__main__":
    sys.exit(main())
