"""The test is tested: seeded faults are put into a copy of the checkout, and `marketpulse chaos` has to find each by its seeds.

    .venv/bin/python .ci/chaos_faults.py                   # the three of NAMES, 20 seeds each
    .venv/bin/python .ci/chaos_faults.py spool_… --seeds 5

Ends with 1 when one was not found. The copy is that of `make mutants` (.ci/mutants.py).
"""

import argparse
import os
import subprocess
import sys
import time

import mutants

NAMES = ("lost_transaction_is_not_sent_again", "aborted_rows_are_read", "supervisor_leaves_a_failing_child")
WRONG = 1  # how `chaos` ends when rows differ or a process does not come back


def find(name: str, seeds: int, minutes: str) -> int:
    """The first seed that finds the fault; 0: none did."""
    fault = mutants.read_faults()[name]
    mutants.copy_tree(None)
    mutants.put_in(fault)
    environment = {
        **os.environ, "PYTHONPATH": str(mutants.TREE / "src"), "PYTHONDONTWRITEBYTECODE": "",
        "MARKETPULSE_CACHE_DIR": str(mutants.make_cache(fault)), "PYTHONPYCACHEPREFIX": str(mutants.WORK / "bytecode"),
    }  # fmt: skip
    for seed in range(1, seeds + 1):
        began = time.monotonic()
        command = [str(mutants.BIN / "python"), "-m", "marketpulse", "chaos", "--shrink", "0"]
        done = subprocess.run(
            [*command, "--seed", str(seed), "--minutes", minutes],
            capture_output=True, text=True, env=environment, cwd=mutants.WORK, check=False,
        )  # fmt: skip
        why = next((line for line in done.stdout.splitlines() if line.startswith("WRONG")), "")
        print(f"{name} seed {seed}: code {done.returncode} after {time.monotonic() - began:.0f} s {why}", flush=True)
        if done.returncode not in (0, WRONG) or (done.returncode == WRONG and not why):
            raise RuntimeError(done.stdout + done.stderr)
        if done.returncode == WRONG:
            return seed
    return 0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", default=NAMES)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--minutes", default="0.5")
    given = options.parse_args()
    mutants.make_python()
    found = {name: find(name, given.seeds, given.minutes) for name in given.names}
    for name, seed in found.items():
        print(f"{name}: {f'found by seed {seed}' if seed else 'NOT FOUND'}", flush=True)
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
