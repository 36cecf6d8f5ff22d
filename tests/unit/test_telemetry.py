"""What a command says of itself: logs never stand between the rows that it prints."""

import subprocess
import sys


def test_before_anybody_sets_logging_up_only_errors_are_told_and_on_standard_error() -> None:
    script = (
        "from marketpulse.telemetry import get_logger\n"
        "get_logger().warning('a_warning'); get_logger().error('a_fault', place=3)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == ""
    assert "a_fault" in run.stderr
    assert "a_warning" not in run.stderr
