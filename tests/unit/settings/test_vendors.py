"""A vendor's key and a pusher's token: from the environment or `.env`, never from the file."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from marketpulse.errors import SettingsError
from marketpulse.settings import AlpacaSettings, AlphaVantageSettings, HttpSettings, YahooSettings, load_settings

WORD = "a-word-of-more-than-20-letters"
NAMES = ("API_KEY", "ALPHA_VANTAGE_API_KEY", "MARKETPULSE_KEYS__ALPHA_VANTAGE")


@pytest.fixture(autouse=True)
def an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def key() -> str | None:
    found = load_settings().keys.alpha_vantage
    return None if found is None else found.get_secret_value()


@pytest.mark.parametrize("name", NAMES)
def test_the_key_comes_from_the_environment_or_from_dotenv(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key() is None
    (tmp_path / ".env").write_text(f"{name}=from-the-file\n")
    assert key() == "from-the-file"
    monkeypatch.setenv(name, "from-the-environment")
    assert key() == "from-the-environment"
    assert "from-the" not in repr(load_settings())


def test_the_more_special_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, name)
        assert key() == name


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        (f'[keys]\nalpha_vantage = "{WORD}"', "MARKETPULSE_KEYS__ALPHA_VANTAGE"),
        (f'[sources.push]\nkind = "http"\ntoken = "{WORD}"', "MARKETPULSE_SOURCES__PUSH__TOKEN"),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str, variable: str) -> None:
    (tmp_path / "marketpulse.toml").write_text(text)
    with pytest.raises(SettingsError, match=variable) as raised:
        load_settings()
    assert WORD not in str(raised.value)


def test_the_token_of_a_source_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "marketpulse.toml").write_text('[sources.push]\nkind = "http"\nport = 0\n')
    monkeypatch.setenv("MARKETPULSE_SOURCES__PUSH__TOKEN", WORD)
    source = load_settings().sources["push"]
    assert isinstance(source, HttpSettings)
    assert source.token is not None
    assert source.token.get_secret_value() == WORD


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (AlphaVantageSettings, {"symbols": []}), (AlphaVantageSettings, {"symbols": ["A", "A"]}),
        (AlphaVantageSettings, {"symbols": ["A B"]}), (AlphaVantageSettings, {"symbols": ["A"], "interval": "2min"}),
        (AlphaVantageSettings, {"symbols": ["A"], "spread": ["16:00", "09:30"]}),
        (AlphaVantageSettings, {"symbols": ["A"], "spread": ["9:30", "16:00"]}),
        (YahooSettings, {"symbols": ["A"], "history": "five days"}), (YahooSettings, {"symbols": [f"S{i}" for i in range(401)]}),
        (HttpSettings, {"token": "short"}), (HttpSettings, {"host": "0.0.0.0"}),  # noqa: S104  (that it is refused)
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(kind: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind(**given)


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("APCA_API_KEY_ID", "alpaca"), ("APCA_API_SECRET_KEY", "alpaca_secret"), ("POLYGON_API_KEY", "polygon"),
        ("MASSIVE_API_KEY", "polygon"), ("FINNHUB_API_KEY", "finnhub"), ("MARKETPULSE_KEYS__FINNHUB", "finnhub"),
    ],
)  # fmt: skip
def test_keys_of_feeds_are_known_by_the_names_that_others_use(
    variable: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, WORD)
    keys = load_settings().keys
    assert getattr(keys, name).get_secret_value() == WORD
    assert WORD not in repr(keys)


def test_a_symbol_s_bars_come_from_one_origin() -> None:
    with pytest.raises(ValidationError, match="set trades or bars to false"):
        AlpacaSettings(symbols=("AAPL",), bars=True)
    assert AlpacaSettings(symbols=("AAPL",), trades=False, bars=True).bars
