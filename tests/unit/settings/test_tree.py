"""Where a setting comes from, which source wins, what a mistake in it says, that no secret stands in a file; and the
pages that list all settings."""

import re
import runpy
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from marketpulse import settings as tree
from marketpulse.errors import SettingsError
from marketpulse.model.tables import EVENT_TIME_COLUMN
from marketpulse.settings import load_settings
from marketpulse.settings.stores import TIMED_TABLES
from refused import assert_raises

CONFIG = Path("marketpulse.toml")
DOTENV = Path(".env")
WORD = "a-word-of-more-than-20-letters"
KEY_NAMES = ("API_KEY", "ALPHA_VANTAGE_API_KEY", "MARKETPULSE_KEYS__ALPHA_VANTAGE")


@pytest.fixture(autouse=True)
def an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of every test here, with none of our names in the environment."""
    monkeypatch.chdir(tmp_path)
    ours = ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "AWS_S3_BUCKET", "MARKETPULSE_KAFKA__PARTITIONS")
    for name in (*ours, *KEY_NAMES):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _partitions(number: int, path: Path = CONFIG) -> Path:
    path.write_text(f"[kafka]\npartitions = {number}\n")
    return path


def refusal(text: str = "", **overrides: Any) -> str:
    """What is said of a configuration file that cannot be."""
    CONFIG.write_text(text)
    with pytest.raises(SettingsError) as caught:
        tree.load_settings(**overrides)
    return str(caught.value)


def secret(found: SecretStr | None) -> str | None:
    return None if found is None else found.get_secret_value()


def test_the_file_of_the_directory_or_a_named_one_is_read_else_the_defaults_hold_and_the_next_load_forgets_it() -> None:
    tree.load_settings(_partitions(6, Path("mine.toml")))
    assert tree.load_settings().kafka.partitions == tree.Settings().kafka.partitions == 12
    assert_raises(SettingsError, "", tree.load_settings, _partitions(-1, Path("mine.toml")))
    assert tree.Settings().kafka.partitions == 12
    assert tree.load_settings().kafka.partitions == 12
    _partitions(24)
    assert tree.load_settings().kafka.partitions == 24
    assert tree.load_settings(_partitions(6, Path("mine.toml"))).kafka.partitions == 6
    assert_raises(SettingsError, r"nowhere\.toml does not exist", tree.load_settings, Path("nowhere.toml"))


def test_command_line_wins_over_environment_over_dotenv_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    _partitions(24)
    DOTENV.write_text("MARKETPULSE_KAFKA__PARTITIONS=25\n")
    assert tree.load_settings().kafka.partitions == 25
    monkeypatch.setenv("MARKETPULSE_KAFKA__PARTITIONS", "26")
    assert tree.load_settings().kafka.partitions == 26
    assert tree.load_settings(kafka={"partitions": 27}).kafka.partitions == 27


def test_a_group_keeps_what_another_source_does_not_name_and_rules_are_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    CONFIG.write_text(
        '[kafka]\npartitions = 24\n\n[[engine.alerts]]\nname = "dip"\nexpression = "close < 9"\n\n'
        '[[engine.alerts]]\nname = "up"\nfor_s = 60\n'
    )
    rules = ({"name": "dip", "expression": "close < 9"}, {"name": "up", "for_s": 60})
    assert tree.load_settings(CONFIG).engine.alerts == rules
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092")
    kafka = tree.load_settings(kafka={"topic_prefix": "desk-"}).kafka
    assert (kafka.partitions, kafka.bootstrap_servers, kafka.topic_prefix) == (24, "kafka-1:9092", "desk-")


def test_dotenv_may_have_names_of_existing_projects_and_other_programs_but_no_misspelt_one_of_ours() -> None:
    DOTENV.write_text("KAFKA_BOOTSTRAP_SERVERS=kafka-1:9092\nKAFKA_TOPIC=prices\nAWS_S3_BUCKET=mine\n")
    settings = tree.load_settings()
    assert (settings.kafka.bootstrap_servers, settings.sources["prices"].kind) == ("kafka-1:9092", "kafka")
    stored = (settings.lake_url(), settings.archive_url())
    assert stored == ("s3://mine/marketpulse/lake", "s3://mine/marketpulse/archive")
    mapping = {"record": "bar", "columns": {"price": "Last"}, "symbol": "A", "venue": "XNYS", "timezone": "Asia/Tokyo",
               "time_format": "%Y", "timeframe": "1m", "split_adjusted": True, "extra_columns": False}  # fmt: skip
    lines = [f"{name}={value}" for name, value in {**mapping, "columns__price": "Last"}.items() if name != "columns"]
    named = "\n".join(f"MARKETPULSE_SOURCES__STOCK_PRICES__MAPPING__{line}" for line in lines)
    DOTENV.write_text(f"KAFKA_TOPIC=Stock-Prices, ticks,\n{named}\n")
    sources = {name: source.model_dump() for name, source in tree.load_settings().sources.items()}
    assert [(name, source["topic"]) for name, source in sources.items()] == [("Stock-Prices",) * 2, ("ticks",) * 2]
    assert (sources["Stock-Prices"]["mapping"], tree.Mapping().model_dump()) == (mapping, sources["ticks"]["mapping"])
    DOTENV.write_text("EDITOR_THEME=dark\nSQL=postgres://x\nMARKETPULSE_KAFKA__PARTITIONS=25\n")
    assert tree.load_settings().kafka.partitions == 25
    DOTENV.write_text("MARKETPULSE_KAFKAA__PARTITIONS=25\n")
    assert_raises(SettingsError, "marketpulse_kafkaa__partitions", tree.load_settings)


def test_dotenvs_example_is_read_and_redis_password_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / ".env.example").read_text()
    DOTENV.write_text(re.sub(r"^# (?=[A-Z_]+=)", "", text, flags=re.MULTILINE))
    settings = tree.load_settings()
    assert (settings.serve.port, settings.kafka.client["sasl.username"]) == (9000, "me")
    assert (settings.engine.timeframes, "stock-prices" in settings.sources) == (("1m", "1h", "1d"), True)
    monkeypatch.setenv("MARKETPULSE_SINKS__REDIS__PASSWORD", "hidden")
    monkeypatch.setenv("MARKETPULSE_SINKS__REDIS__EXPIRE", "never")
    section = tree.load_settings().sinks.redis
    assert (secret(section.password), "hidden" in repr(section), section.expire_s) == ("hidden", False, 0)
    assert section.model_copy(update={"expire": "7d"}).expire_s == 7 * 86_400


@pytest.mark.parametrize(("section", "line", "said"), [
    ("kafka.client", '"sasl.password" = "x1y2"', r"kafka\.client\.sasl\.password is a secret: remove it from marketpulse\.toml"),
    ("sinks.redis", 'password = "x1y2"', "MARKETPULSE_SINKS__REDIS__PASSWORD in the environment"),
    ("sinks.redis", 'url = "redis://me:x1y2@127.0.0.1:6379/0"', "MARKETPULSE_SINKS__REDIS__PASSWORD in the environment"),
    ("sinks.redis", 'url = "redis://127.0.0.1/?password=x1y2"', "MARKETPULSE_SINKS__REDIS__PASSWORD in the environment"),
    ("sinks.redis", 'url = "http://127.0.0.1"', "redis://"),
    ("sinks.redis", 'expire = "soon"', "such as 7d"),
    ("sinks.redis", 'day_timeframe = "100t"', "no session"),
    ("sinks.lake", 'retention = { "trades@1s" = "7d" }', "of trades no timeframe can be named"),
    ("sinks.lake", 'retention = { "bars@1x" = "7d" }', "write a number and a unit, such as 1s"),
    ("sinks.lake", 'retention = { bars = "9d", "bars@1s" = "forever" }', "bars@1s cannot be kept longer than bars, .* 9d"),
    ("sinks.lake", 'retention = { bars = "soon" }', "no number of days such as 30d, and not forever"),
    ("sinks.influx", 'token = "x1y2"', "MARKETPULSE_SINKS__INFLUX__TOKEN"),
    ("sinks.influx", 'password = "x1y2"', "MARKETPULSE_SINKS__INFLUX__PASSWORD"),
    ("sinks.influx", 'url = "http://me:x1y2@127.0.0.1:8086"', r"sinks\.influx\.url"),
    ("sinks.influx", 'url = "127.0.0.1:8086"', r"sinks\.influx\.url"),
    ("sinks.influx", 'url = "ftp://127.0.0.1"', r"sinks\.influx\.url"),
    ("sinks.postgres", 'password = "x1y2"', "MARKETPULSE_SINKS__POSTGRES__(READER_)?PASSWORD"),
    ("sinks.postgres", 'url = "postgresql://me:x1y2@127.0.0.1/d"', "MARKETPULSE_SINKS__POSTGRES__(READER_)?PASSWORD"),
    ("sinks.postgres", 'url = "postgresql://me@h/d?password=x1y2"', "MARKETPULSE_SINKS__POSTGRES__(READER_)?PASSWORD"),
    ("sinks.postgres", 'reader_password = "x1y2"', "MARKETPULSE_SINKS__POSTGRES__(READER_)?PASSWORD"),
    ("keys", 'alpha_vantage = "x1y2-of-more-than-20-letters"', "MARKETPULSE_KEYS__ALPHA_VANTAGE"),
    ("sources.push", 'kind = "http"\ntoken = "x1y2-of-more-than-20-letters"', "MARKETPULSE_SOURCES__PUSH__TOKEN"),
])  # fmt: skip
def test_what_cannot_stand_in_the_file_is_refused_and_no_secret_is_shown(section: str, line: str, said: str) -> None:
    message = refusal(f"[{section}]\n{line}\n")
    assert re.search(said, message, re.DOTALL), message
    assert "x1y2" not in message


@pytest.mark.parametrize(("theirs", "ours", "sink", "field"), [
    ("INFLUX_TOKEN", "MARKETPULSE_SINKS__INFLUX__TOKEN", "influx", "token"),
    ("PGPASSWORD", "MARKETPULSE_SINKS__POSTGRES__PASSWORD", "postgres", "password"),
])  # fmt: skip
def test_a_stores_secret_is_understood_under_two_names_ours_wins_and_it_is_never_shown(
    theirs: str, ours: str, sink: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_S3_BUCKET", "bucket")
    for name, value in ((theirs, "hush"), (ours, "hush-hush")):
        monkeypatch.setenv(name, value)
        settings = tree.load_settings()
        assert secret(getattr(getattr(settings.sinks, sink), field)) == value
        assert settings.sinks.lake.url == "s3://bucket/marketpulse/lake"
        assert "hush" not in repr(settings)


@pytest.mark.parametrize(("text", "said"), [
    ("[kafka\n", r"marketpulse\.toml"),
    ('[[sources]]\nkind = "coinbase"\n', r"sources: this is a table, \[sources\.NAME\], one for each"),
    ("sources = 5\n", r"sources: this is a table"), ("kafka = 5\n", r"kafka: this is a table, \[kafka\]"),
    ("kafka.client = 5\n", r"kafka\.client: this is a table, \[kafka\.client\]"),
    ('keys = "mine"\n', r"keys: this is a table"),
    ("[sinks]\nlake = 4\n", r"sinks\.lake: this is a table, \[sinks\.lake\]"), ("sources.a = 5\n", r"sources\.a: "),
    ("[kafka.producer]\nlinger_ms = 5\nlinger.ms = 6", r"toml:2: kafka\.producer\.linger_ms is set twice, once as linger\.ms: keep one"),
    ('[kafka.producer]\nacks = "1"\ncompression.type = "lzo"', r"toml:3: kafka\.producer\.compression: .*'snappy'"),
    ("[kafka.producer]\n\nbatch.size = 0", r"toml:3: kafka\.producer\.batch_bytes: .*greater than or equal to 1"),
    ("[kafka.producer]\nacks=all", r'toml:2: acks: TOML needs quotes around a text: write acks = "…"; .*producer = """'),
    ("[kafka.producer]\nretries = 1\nretries.x = 2", r"toml:3: this is not TOML \(Cannot overwrite a value\)"),
    ('[kafka]\nproducer = """\nsasl.jaas.config=x1y2\n"""', r"toml:2: kafka\.producer\.sasl\.jaas\.config is a secret"),
    ('[engine]\ntimeframes = [\n  "7x"\n]\n\n[kafka]\npartition = 3', r"toml:7: kafka\.partition: there is no such .*did you mean partitions\?\n.*toml:2: "),
    ('[sources.a]\nkind = "replay"\nfiles = ["a"]\n[sources.b]\nkind = "replay"\nfiles = ["b"]\nsped = "max"', r"toml:7: sources\.b\.sped: .*did you mean speed\?"),
])  # fmt: skip
def test_a_wrong_setting_is_named_with_its_line_and_what_to_write(text: str, said: str) -> None:
    message = refusal(text)
    assert re.search(said, message), message
    assert "x1y2" not in message


def test_a_wrong_variable_is_named_and_a_later_error_by_its_settings_line(monkeypatch: pytest.MonkeyPatch) -> None:
    DOTENV.write_text("\nMARKETPULSE_BROKER__HEAP_MB=9\n")
    assert refusal().startswith(".env:2: MARKETPULSE_BROKER__HEAP_MB: broker.heap_mb: Input should be greater")
    assert refusal(broker={"heap_mb": 10}).startswith("command line: broker.heap_mb: ")
    monkeypatch.setenv("MARKETPULSE_BROKER__HEAP_MB", "many")
    said = refusal()
    assert said.startswith("MARKETPULSE_BROKER__HEAP_MB: broker.heap_mb: Input should be a valid integer")
    assert "many" not in said
    monkeypatch.setenv("MARKETPULSE_BROKER__HEAP_MB", "384")
    monkeypatch.setenv("KAFKA_HEAP_OPTS", "-Xmx1GB")
    CONFIG.write_text(
        '[sources.mine]\nkind = "replay"\nfiles = ["a.csv"]\n\n[[engine.alerts]]\nname = "a"\n[[engine.alerts]]\nname = "b"\n'
    )
    tree.load_settings()
    for said, where in (
        ("broker.heap_opts: -Xmx1GB is no size", "KAFKA_HEAP_OPTS: "), ("engine.alerts.1: rule 'b'", "marketpulse.toml:7: "),
        ("sources.mine: replay: a.csv is no file (from a directory, files …)", "marketpulse.toml:3: "), ("the disk is full", ""),
    ):  # fmt: skip
        assert str(tree.located(SettingsError(said))) == where + said


def test_blocks_come_from_the_environment_by_any_name_and_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    CONFIG.write_text(
        "[kafka.producer]\nlinger.ms = 1\nbatch.size = 9\nretries = 7\n[broker.properties]\nnum.io.threads = 3\n"
    )
    monkeypatch.setenv("MARKETPULSE_KAFKA__PRODUCER", '{"compression.type": "zstd", "linger.ms": 5}')
    monkeypatch.setenv("MARKETPULSE_KAFKA__PRODUCER__BATCH_BYTES", "4096")
    settings = tree.load_settings()
    found = settings.kafka.producer
    assert (found.compression, found.linger_ms, found.batch_bytes) == ("zstd", 5, 4_096)
    assert (found.properties, settings.broker.properties) == ({"retries": 7}, {"num.io.threads": 3})


def key() -> str | None:
    return secret(tree.load_settings().keys.alpha_vantage)


@pytest.mark.parametrize("name", KEY_NAMES)
def test_the_key_comes_from_the_environment_or_from_dotenv(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert key() is None
    DOTENV.write_text(f"{name}=from-the-file\n")
    assert key() == "from-the-file"
    monkeypatch.setenv(name, "from-the-environment")
    assert key() == "from-the-environment"
    assert "from-the" not in repr(tree.load_settings())


def test_the_more_special_name_wins_and_a_sources_token_is_known_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_NAMES:
        monkeypatch.setenv(name, name)
        assert key() == name
    CONFIG.write_text('[sources.push]\nkind = "http"\nport = 0\n')
    monkeypatch.setenv("MARKETPULSE_SOURCES__PUSH__TOKEN", WORD)
    source = tree.load_settings().sources["push"]
    assert isinstance(source, tree.HttpSettings)
    assert secret(source.token) == WORD


@pytest.mark.parametrize(("kind", "given"), [
    (tree.AlphaVantageSettings, {"symbols": []}), (tree.AlphaVantageSettings, {"symbols": ["A", "A"]}),
    (tree.AlphaVantageSettings, {"symbols": ["A B"]}),
    (tree.AlphaVantageSettings, {"symbols": ["A"], "interval": "2min"}),
    (tree.AlphaVantageSettings, {"symbols": ["A"], "spread": ["16:00", "09:30"]}),
    (tree.AlphaVantageSettings, {"symbols": ["A"], "spread": ["9:30", "16:00"]}),
    (tree.YahooSettings, {"symbols": ["A"], "history": "five days"}),
    (tree.YahooSettings, {"symbols": [f"S{i}" for i in range(401)]}), (tree.HttpSettings, {"token": "short"}),
    (tree.HttpSettings, {"host": "0.0.0.0"}),  # noqa: S104  (that it is refused)
])  # fmt: skip
def test_what_cannot_be_is_refused(kind: Any, given: dict[str, Any]) -> None:
    assert_raises(ValidationError, "", kind, **given)


@pytest.mark.parametrize(("variable", "name"), [
    ("APCA_API_KEY_ID", "alpaca"), ("APCA_API_SECRET_KEY", "alpaca_secret"), ("POLYGON_API_KEY", "polygon"),
    ("MASSIVE_API_KEY", "polygon"), ("FINNHUB_API_KEY", "finnhub"), ("MARKETPULSE_KEYS__FINNHUB", "finnhub"),
])  # fmt: skip
def test_keys_of_feeds_are_known_by_others_names(variable: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, WORD)
    keys = tree.load_settings().keys
    assert (secret(getattr(keys, name)), WORD in repr(keys)) == (WORD, False)


def test_a_symbol_s_bars_come_from_one_origin_and_the_tables_with_a_time_are_those_of_the_model() -> None:
    assert_raises(ValidationError, "set trades or bars to false", tree.AlpacaSettings, symbols=("AAPL",), bars=True)
    assert tree.AlpacaSettings(symbols=("AAPL",), trades=False, bars=True).bars
    assert set(TIMED_TABLES) == {table for table, column in EVENT_TIME_COLUMN.items() if column is not None}


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
