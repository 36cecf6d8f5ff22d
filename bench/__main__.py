"""Every benchmark in turn: `make bench`. Rows also go to bench/results/<name>.json.

python -m bench [alerts|catchup|decode|indicators …]
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("alerts", "catchup", "decode", "indicators")


def main() -> int:
    """Run the named benchmarks, or all; a failing one fails the run."""
    wanted = sys.argv[1:] or list(NAMES)
    if unknown := sorted(set(wanted) - set(NAMES)):
        print(f"unknown benchmark {unknown[0]!r}: there is {', '.join(NAMES)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted:
        print(f"== {name}", flush=True)
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, text=True, check=False
        )
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        print(done.stdout, end="", flush=True)
        failed |= done.returncode
        if done.returncode == 0:
            (HERE / "results").mkdir(exist_ok=True)
            (HERE / "results" / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
