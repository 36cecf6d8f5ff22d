import os
import subprocess
import sys
from pathlib import Path

SAY = "print(sys.pycache_prefix, sys.dont_write_bytecode)"
STARTS = f"import marketpulse.app.cli, sys; {SAY}"


def start(cache: Path, script: str = STARTS, **environment: str) -> str:
    """A start of the command line, or the script, in an interpreter of its own; what it says about bytecode."""
    without = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPYCACHE", "PYTHONDONTWRITE"))}
    variables = {**without, "MARKETPULSE_CACHE_DIR": str(cache), **environment}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_bytecode_goes_to_the_cache_where_python_may_not_write_it_beside_the_sources(tmp_path: Path) -> None:
    import numba

    said = start(tmp_path, PYTHONDONTWRITEBYTECODE="1")
    if Path(numba.__file__).with_name("__pycache__").is_dir():  # the installer's is as good: it stays in use
        assert said == "None True"
        assert not any(tmp_path.iterdir())
    else:
        assert said == f"{tmp_path / 'bytecode'} False"
        assert any((tmp_path / "bytecode").rglob("typer/__init__.*.pyc"))


def test_the_interpreter_of_whoever_imports_us_stays_as_it_was_and_sql_brings_no_compiler(tmp_path: Path) -> None:
    script = f"import sys, marketpulse; marketpulse.sql; {SAY}; print('numba' in sys.modules)"
    assert start(tmp_path, script, PYTHONDONTWRITEBYTECODE="1").split() == ["None", "True", "False"]


def test_a_place_for_bytecode_that_somebody_named_stays(tmp_path: Path) -> None:
    named = str(tmp_path / "theirs")
    said = start(tmp_path / "ours", PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=named)
    assert said == f"{named} True"
    assert not (tmp_path / "ours").exists()


def test_where_python_writes_bytecode_by_itself_nothing_changes(tmp_path: Path) -> None:
    script = f"import sys; sys.dont_write_bytecode = False; {STARTS}"
    assert start(tmp_path, script, PYTHONPYCACHEPREFIX=str(tmp_path / "here")) == f"{tmp_path / 'here'} False"
    assert not (tmp_path / "bytecode").exists()
