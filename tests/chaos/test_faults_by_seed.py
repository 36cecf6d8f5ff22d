"""`marketpulse chaos` as a person starts it: every kind of fault by seed, and every row is there once.

`make soak` runs a thousand seeds, and writes what came of them to bench/results/chaos.json.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest

from given_settings import done_by, outside

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(900), pytest.mark.usefixtures("kernels")]

SOAK = 10 * int(os.environ.get("MARKETPULSE_SOAK_SEEDS", "0"))
SEEDS = range(1, 1 + (SOAK or 3))
MINUTES = "0.5" if SOAK else "0.15"
RESULTS = Path(__file__).parents[2] / "bench" / "results" / "chaos.json"


@pytest.fixture(scope="module")
def reports() -> Iterator[list[dict[str, Any]]]:
    """What each run reports; a soak's are kept in short."""
    runs: list[dict[str, Any]] = []
    yield runs
    if SOAK:
        steps = [step for run in runs for step in run["steps"]]
        recovered = [step["recovered_s"] for step in steps if step["recovered_s"] is not None]
        cuts = quantiles(recovered, n=100)
        summary = {
            "seeds": len(runs), "minutes": float(MINUTES), "failed": [run["seed"] for run in runs if not run["equal"]],
            "injected": Counter(step["kind"] for step in steps if step["not_injected"] is None),
            "not_injected": Counter(step["not_injected"] for step in steps if step["not_injected"]),
            "recovery_p50_s": round(cuts[49], 1), "recovery_p99_s": round(cuts[98], 1),
        }  # fmt: skip
        RESULTS.write_text(json.dumps(summary, indent=1) + "\n")


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_the_seed_brings_every_row_is_there_once_and_every_receipt_holds(
    seed: int, broker_cache: Path, tmp_path: Path, reports: list[dict[str, Any]]
) -> None:
    report = tmp_path / "report.json"
    words = ("chaos", "--seed", str(seed), "--minutes", MINUTES, "--shrink", "0", "--json", str(report))
    environment = {**outside(), "MARKETPULSE_CACHE_DIR": str(broker_cache)}
    done = done_by(*words, environment=environment, cwd=tmp_path, within_s=900)
    reports.append(json.loads(report.read_text()) if report.exists() else {"seed": seed, "equal": False, "steps": []})
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(step["recovered_s"] is not None for step in reports[-1]["steps"])
