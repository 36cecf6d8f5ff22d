import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from marketpulse.app.cli.main import app
from marketpulse.sources.defaults import bundled


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(tmp_path / "data"))


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def faulty(folder: Path) -> str:
    lines = bundled("daily/KO.csv").read_text().splitlines()
    cells = lines[300].split(",")
    lines[300] = ",".join([cells[0], *(str(float(c) * 100) for c in cells[1:5]), *cells[5:]])
    path = folder / "ko.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_clean_file_ends_with_0_and_says_so() -> None:
    done = check(str(bundled("daily/KO.csv")))
    assert done.exit_code == 0
    assert done.stdout == ""
    assert "nothing is suspect" in done.stderr


def test_a_faulty_file_ends_with_1_and_a_line_for_each_row(tmp_path: Path) -> None:
    done = check(faulty(tmp_path))
    assert done.exit_code == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith("2013-03-14")
    assert "  KO  price_unit  " in line
    assert "is about the level" in line
    assert done.stderr.strip().endswith("price_unit 1")


def test_all_rows_are_counted_that_were_read_and_those_that_are_refused(tmp_path: Path) -> None:
    lines = bundled("daily/KO.csv").read_text().splitlines()
    spoilt = lines[500].split(",")
    lines[500] = ",".join([*spoilt[:5], "-1", *spoilt[6:]])
    lines[400] = "2013-08-06,not,a,price,at,all"
    path = tmp_path / "ko.csv"
    path.write_text("\n".join([*lines, lines[300]]) + "\n")  # a bar twice
    assert "767 rows, all accepted" in check(str(bundled("daily/KO.csv"))).stderr  # with the dividends
    assert "768 rows, 765 accepted and 3 refused" in check(str(path)).stderr


def test_for_programs_a_finding_is_an_object(tmp_path: Path) -> None:
    done = check(faulty(tmp_path), "--json")
    found = json.loads(done.stdout)
    assert found["rule"] == "price_unit"
    assert found["severity"] == "mark"
    assert found["symbol"] == "KO"


def test_what_is_only_counted_does_not_fail(tmp_path: Path) -> None:
    Path("marketpulse.toml").write_text('[engine.quality]\nprice_unit = "count"\n')
    done = check(faulty(tmp_path))
    assert done.exit_code == 0
    assert "price_unit" in done.stdout
