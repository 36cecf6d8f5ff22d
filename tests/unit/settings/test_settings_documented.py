"""Every setting has a description, and the pages that list them are up to date."""

import re
import runpy
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from marketpulse.settings import load_settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def writer() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "write_settings.py")))


@pytest.mark.parametrize("name", ["docs/settings.md", "marketpulse.example.toml", ".env.example"])
def test_the_page_is_what_the_settings_say(writer: SimpleNamespace, name: str) -> None:
    assert (ROOT / name).read_text() == writer.pages()[ROOT / name], f"run `make docs`: {name} is out of date"


def test_every_setting_says_what_it_means(writer: SimpleNamespace) -> None:
    settings = [s for _, group in writer.sections() for s in group]
    settings += [s for _, model, _ in writer.SOURCES for s in writer.leaves(model, " ")]
    assert (len(settings) > 50, [s.name for s in settings if not s.field.description]) == (True, [])


def test_the_example_without_its_comments_is_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    text = (ROOT / "marketpulse.example.toml").read_text()
    assert tomllib.loads(text) == {}
    config = tmp_path / "marketpulse.toml"
    config.write_text(re.sub(r"^# ", "", text, flags=re.MULTILINE))
    settings = load_settings(config)
    assert set(settings.sources) == {
        "my-files", "my-market", "my-topic", "alpha_vantage", "yahoo", "finnhub_bars", "any-vendor", "push", "coinbase", "binance", "alpaca",
        "polygon", "finnhub", "incident", "pipe",
    }  # fmt: skip
    assert settings.kafka.client["linger.ms"] == 5
