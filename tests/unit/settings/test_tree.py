"""Where a setting comes from, which source wins, and what a mistake in it says."""

import re
from pathlib import Path

import pytest

from marketpulse.errors import SettingsError
from marketpulse.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of every test here, with none of our names in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "AWS_S3_BUCKET", "MARKETPULSE_KAFKA__PARTITIONS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _partitions(directory: Path, number: int, name: str = "marketpulse.toml") -> Path:
    path = directory / name
    path.write_text(f"[kafka]\npartitions = {number}\n")
    return path


def test_alert_rules_are_tables_of_the_file(tmp_path: Path) -> None:
    config = tmp_path / "marketpulse.toml"
    config.write_text(
        '[[engine.alerts]]\nname = "dip"\nexpression = "close < 9"\n\n[[engine.alerts]]\nname = "up"\nfor_s = 60\n'
    )
    rules = load_settings(config).engine.alerts
    assert rules == ({"name": "dip", "expression": "close < 9"}, {"name": "up", "for_s": 60})


def test_the_file_of_the_working_directory_is_read(tmp_path: Path) -> None:
    _partitions(tmp_path, 24)
    assert load_settings().kafka.partitions == 24


def test_without_a_file_the_defaults_hold() -> None:
    assert load_settings().kafka.partitions == 12


def test_a_named_file_is_read_instead_of_the_default_one(tmp_path: Path) -> None:
    _partitions(tmp_path, 24)
    assert load_settings(_partitions(tmp_path, 6, "mine.toml")).kafka.partitions == 6


def test_what_one_load_read_is_forgotten_by_the_next_and_by_settings_made_in_code(tmp_path: Path) -> None:
    load_settings(_partitions(tmp_path, 6, "mine.toml"))
    assert load_settings().kafka.partitions == 12
    assert Settings().kafka.partitions == 12


def test_a_file_that_was_refused_is_forgotten_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_settings(_partitions(tmp_path, -1, "mine.toml"))
    assert Settings().kafka.partitions == 12


def test_the_environment_wins_over_dotenv_and_dotenv_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _partitions(tmp_path, 24)
    (tmp_path / ".env").write_text("MARKETPULSE_KAFKA__PARTITIONS=25\n")
    assert load_settings().kafka.partitions == 25
    monkeypatch.setenv("MARKETPULSE_KAFKA__PARTITIONS", "26")
    assert load_settings().kafka.partitions == 26


def test_the_command_line_wins_over_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _partitions(tmp_path, 24)
    monkeypatch.setenv("MARKETPULSE_KAFKA__PARTITIONS", "26")
    assert load_settings(kafka={"partitions": 27}).kafka.partitions == 27


def test_a_group_keeps_what_another_source_does_not_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _partitions(tmp_path, 24)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092")
    kafka = load_settings(kafka={"topic_prefix": "desk-"}).kafka
    assert (kafka.partitions, kafka.bootstrap_servers, kafka.topic_prefix) == (24, "kafka-1:9092", "desk-")


def test_the_names_of_existing_projects_are_understood_in_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KAFKA_BOOTSTRAP_SERVERS=kafka-1:9092\nKAFKA_TOPIC=prices\nAWS_S3_BUCKET=mine\n")
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "kafka-1:9092"
    assert settings.sources["prices"].kind == "kafka"
    assert settings.lake_url() == "s3://mine/marketpulse/lake"
    assert settings.archive_url() == "s3://mine/marketpulse/archive"


def test_names_of_other_programs_in_dotenv_are_passed_over_and_a_misspelt_one_of_ours_is_not(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EDITOR_THEME=dark\nSQL=postgres://x\nMARKETPULSE_KAFKA__PARTITIONS=25\n")
    assert load_settings().kafka.partitions == 25
    (tmp_path / ".env").write_text("MARKETPULSE_KAFKAA__PARTITIONS=25\n")
    with pytest.raises(SettingsError, match="marketpulse_kafkaa__partitions"):
        load_settings()


def test_the_example_of_dotenv_is_read_once_its_comments_are_taken_off(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^# (?=[A-Z_]+=)", "", text, flags=re.MULTILINE))
    settings = load_settings()
    assert settings.serve.port == 9000
    assert settings.kafka.client["sasl.username"] == "me"
    assert settings.engine.timeframes == ("1m", "1h", "1d")
    assert "stock-prices" in settings.sources


def test_a_secret_in_the_file_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "marketpulse.toml"
    path.write_text('[kafka.client]\n"sasl.password" = "hunter2"\n')
    with pytest.raises(SettingsError, match=r"kafka\.client\.sasl\.password is a secret") as caught:
        load_settings()
    assert "marketpulse.toml" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('password = "hidden"', "MARKETPULSE_SINKS__REDIS__PASSWORD in the environment"),
        ('url = "redis://me:hidden@127.0.0.1:6379/0"', "MARKETPULSE_SINKS__REDIS__PASSWORD in the environment"),
        ('url = "redis://127.0.0.1/?password=hidden"', "MARKETPULSE_SINKS__REDIS__PASSWORD in the environment"),
        ('url = "http://127.0.0.1"', "redis://"),
        ('expire = "soon"', "such as 7d"),
        ('day_timeframe = "100t"', "no session"),
    ],
)
def test_a_redis_section_that_cannot_be_is_refused_and_shows_no_password(tmp_path: Path, lines: str, said: str) -> None:
    path = tmp_path / "marketpulse.toml"
    path.write_text(f"[sinks.redis]\n{lines}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_the_password_of_redis_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPULSE_SINKS__REDIS__PASSWORD", "hidden")
    monkeypatch.setenv("MARKETPULSE_SINKS__REDIS__EXPIRE", "never")
    section = load_settings().sinks.redis
    assert section.password is not None
    assert section.password.get_secret_value() == "hidden"
    assert "hidden" not in repr(section)
    assert section.expire_s == 0
    assert section.model_copy(update={"expire": "7d"}).expire_s == 7 * 86_400


def test_a_wrong_value_is_named_by_its_place_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPULSE_KAFKA__PARTITIONS", "many")
    with pytest.raises(SettingsError, match=r"kafka\.partitions") as caught:
        load_settings()
    assert "many" not in str(caught.value)


def test_a_name_that_is_not_a_setting_is_refused(tmp_path: Path) -> None:
    (tmp_path / "marketpulse.toml").write_text("[kafka]\npartition = 3\n")
    with pytest.raises(SettingsError, match=r"kafka\.partition\b"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[sources]]\nkind = "coinbase"\n', r"sources: this is a table, \[sources\.NAME\], one for each"),
        ("sources = 5\n", r"sources: this is a table"),
        ("kafka = 5\n", r"kafka: this is a table, \[kafka\]"),
        ("kafka.client = 5\n", r"kafka\.client: this is a table, \[kafka\.client\]"),
        ('keys = "mine"\n', r"keys: this is a table"),
        ("[sinks]\nlake = 4\n", r"sinks\.lake: this is a table, \[sinks\.lake\]"),
        ("sources.a = 5\n", r"sources\.a: "),
    ],
)
def test_a_value_in_a_tables_place_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "marketpulse.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        load_settings()


def test_a_file_that_does_not_exist_or_is_not_toml_is_said() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml does not exist"):
        load_settings(Path("nowhere.toml"))
    Path("marketpulse.toml").write_text("[kafka\n")
    with pytest.raises(SettingsError, match=r"marketpulse\.toml"):
        load_settings()


@pytest.mark.parametrize("name", ["token", "password"])
def test_a_secret_of_influx_in_the_file_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "marketpulse.toml").write_text(f'[sinks.influx]\n{name} = "hush"\n')
    with pytest.raises(SettingsError, match=f"MARKETPULSE_SINKS__INFLUX__{name.upper()}") as caught:
        load_settings()
    assert "hush" not in str(caught.value)


def test_influxs_token_comes_from_the_environment_under_two_names_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFLUX_TOKEN", "hush")
    monkeypatch.setenv("AWS_S3_BUCKET", "bucket")
    settings = load_settings()
    assert settings.sinks.influx.token is not None
    assert settings.sinks.influx.token.get_secret_value() == "hush"
    assert settings.sinks.lake.url == "s3://bucket/marketpulse/lake"
    assert "hush" not in repr(settings)
    monkeypatch.setenv("MARKETPULSE_SINKS__INFLUX__TOKEN", "ours")
    again = load_settings().sinks.influx.token
    assert again is not None
    assert again.get_secret_value() == "ours"


@pytest.mark.parametrize("url", ["http://me:hush@127.0.0.1:8086", "127.0.0.1:8086", "ftp://127.0.0.1"])
def test_influxs_address_is_a_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"sinks\.influx\.url") as caught:
        load_settings(sinks={"influx": {"url": url}})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        'password = "x1y2"',
        'url = "postgresql://me:x1y2@127.0.0.1/d"',
        'url = "postgresql://me@h/d?password=x1y2"',
        'reader_password = "x1y2"',
    ],
)
def test_a_password_of_postgres_in_the_file_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "marketpulse.toml"
    file.write_text(f"[sinks.postgres]\n{line}\n")
    with pytest.raises(SettingsError, match=r"MARKETPULSE_SINKS__POSTGRES__(READER_)?PASSWORD") as caught:
        load_settings(file)
    assert "x1y2" not in str(caught.value)


def test_pgpassword_is_understood_and_ours_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "theirs")
    settings = load_settings()
    assert settings.sinks.postgres.password is not None
    assert settings.sinks.postgres.password.get_secret_value() == "theirs"
    assert "theirs" not in repr(settings)
    monkeypatch.setenv("MARKETPULSE_SINKS__POSTGRES__PASSWORD", "ours")
    password = load_settings().sinks.postgres.password
    assert password is not None
    assert password.get_secret_value() == "ours"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("linger.seconds = 5", "kafka.producer.*linger.seconds is unknown here.*kafka.client"),
        ('acks = "1"', "acks is always all: remove it"),
        ("enable.idempotence = false", "enable.idempotence is always true: remove it"),
        ("linger_ms = 5\nlinger.ms = 6", "linger_ms is set twice, once as linger.ms: keep one"),
        ('compression.type = "lzo"', "kafka.producer.compression: .*'snappy'"),
        ("batch.size = 0", "kafka.producer.batch_bytes: .*greater than or equal to 1"),
    ],
)
def test_a_mistake_in_the_producers_settings_says_what_to_write(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "marketpulse.toml").write_text(f"[kafka.producer]\n{written}\n")
    with pytest.raises(SettingsError, match=said):
        load_settings()


def test_the_producers_settings_come_from_the_environment_by_either_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPULSE_KAFKA__PRODUCER", '{"compression.type": "zstd", "linger.ms": 5}')
    monkeypatch.setenv("MARKETPULSE_KAFKA__PRODUCER__BATCH_BYTES", "4096")
    found = load_settings().kafka.producer
    assert (found.compression, found.linger_ms, found.batch_bytes) == ("zstd", 5, 4_096)
