"""What a Spark of one machine is started with; that it runs is shown in tests/conformance/test_on_spark.py."""

import os
import subprocess
from pathlib import Path

from marketpulse.spark.session import _builder, _environment, _java_home


def test_the_launcher_takes_the_incubating_module_away_and_passes_the_rest_on(tmp_path: Path) -> None:
    java = tmp_path / "a java" / "java"
    java.parent.mkdir()
    java.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    java.chmod(0o755)
    home = _java_home(java, tmp_path / "home")
    asked = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Da=b c", "--add-opens=x", "it's"]
    said = subprocess.run([home / "bin" / "java", *asked], capture_output=True, text=True, check=True).stdout
    assert said == "<-Xmx1g><-Da=b c><--add-opens=x><it's>"


def test_the_environment_is_as_it_was_after_the_start() -> None:
    before = dict(os.environ)
    with _environment({"MARKETPULSE_TEST_NEW": "1", "PATH": "/nowhere"}):
        assert (os.environ["MARKETPULSE_TEST_NEW"], os.environ["PATH"]) == ("1", "/nowhere")
    assert dict(os.environ) == before


def test_it_listens_on_loopback_only_and_writes_into_its_folder_only(tmp_path: Path) -> None:
    options = _builder(tmp_path, 2, 600)._options
    assert options["spark.ui.enabled"] == "false"
    assert options["spark.driver.bindAddress"] == options["spark.driver.host"] == "127.0.0.1"
    for name in ("spark.local.dir", "spark.sql.warehouse.dir"):
        assert Path(options[name]).is_relative_to(tmp_path)
