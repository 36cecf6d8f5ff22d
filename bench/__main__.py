"""Every benchmark in turn: `make bench`. Their figures also go to bench/results/<name>.json.

python -m bench [NAME …]        such as catchup latency
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LARGE = ("named_queries",)  # run when they are named: they make very many rows first
NAMES = (
    "alerts",
    "archive",
    "catchup",
    "decode",
    "indicators",
    "influx",
    "lake",
    "latency",
    "load",
    "page_load",
    "postgres",
    "produce",
    "redis_store",
    "scale",
    "scorecard",
    "small_turns",
    "stages",
)


def main() -> int:
    """Run the named benchmarks, or all; a failing one fails the run."""
    wanted = sys.argv[1:] or list(NAMES)
    if unknown := sorted(set(wanted) - set(NAMES + LARGE)):
        print(f"unknown benchmark {unknown[0]!r}: there is {', '.join(NAMES + LARGE)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted:
        print(f"== {name}", flush=True)
        failed |= subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
