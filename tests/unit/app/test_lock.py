import subprocess
import sys
from pathlib import Path

import pytest

from marketpulse.app.lock import only_one
from marketpulse.errors import EnvironmentProblem


def test_a_second_supervisor_over_the_same_directory_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\nfrom marketpulse.app.lock import only_one\n"
        "with only_one(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(EnvironmentProblem, match=f"already runs on .*{holder.pid}"), only_one(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with only_one(tmp_path):  # a killed one leaves no lock behind
        pass


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="MARKETPULSE_DATA_DIR"), only_one(tmp_path / "file"):
        pass
