"""The whole tree, and how it is read."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, get_args

import platformdirs
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from marketpulse.cache import cache_dir
from marketpulse.errors import ParameterError, SettingsError
from marketpulse.settings.layers import DotEnv, TomlFile, WellKnownNames, latest_file, reading
from marketpulse.settings.origins import origin_in, syntax_fault
from marketpulse.settings.sections import (
    BrokerSettings,
    ChaosSettings,
    EngineSettings,
    FailoverSettings,
    HealSettings,
    KafkaSettings,
    ParitySettings,
    ProcessSettings,
    ScorecardSettings,
    ServeSettings,
    SqlSettings,
    TelemetrySettings,
)
from marketpulse.settings.stores import AthenaSettings, AwsSettings, S3Settings, SinkSettings
from marketpulse.settings.vendors import AnySource, KeySettings


class Settings(BaseSettings):
    """The whole tree. Frozen: a process reads it once."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="MARKETPULSE_", env_nested_delimiter="__", env_file=".env",
        env_ignore_empty=True,
    )  # fmt: skip

    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("marketpulse", appauthor=False)),
        description="where everything that is written goes",
    )
    cache_dir: Path = Field(default_factory=cache_dir, description="downloaded parts, wherever the data directory is")
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    process: ProcessSettings = Field(default_factory=ProcessSettings)
    failover: FailoverSettings = Field(default_factory=FailoverSettings)
    sources: dict[str, AnySource] = Field(default_factory=dict, description="what `up` and `produce NAME` feed in")
    keys: KeySettings = Field(default_factory=KeySettings)
    sinks: SinkSettings = Field(default_factory=SinkSettings)
    s3: S3Settings = Field(default_factory=S3Settings)
    aws: AwsSettings = Field(default_factory=AwsSettings)
    heal: HealSettings = Field(default_factory=HealSettings)
    parity: ParitySettings = Field(default_factory=ParitySettings)
    scorecard: ScorecardSettings = Field(default_factory=ScorecardSettings)
    sql: SqlSettings = Field(default_factory=SqlSettings)
    athena: AthenaSettings = Field(default_factory=AthenaSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    chaos: ChaosSettings = Field(default_factory=ChaosSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)

    @model_validator(mode="before")
    @classmethod
    def _sources_by_their_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Join what the environment says of a source whose name it cannot write: STOCK_PRICES is `stock-prices` too."""
        sources = values.get("sources")
        if not isinstance(sources, dict):
            return values
        named = {re.sub(r"\W", "_", name).lower(): name for name in sources if _is_whole(sources[name])}
        joined = {name: section for name, section in sources.items() if _is_whole(section) or name not in named}
        for variable, section in sources.items():
            if variable not in joined:
                joined[named[variable]] = _merge(joined[named[variable]], section)
        return {**values, "sources": joined}

    def topic(self, name: str) -> str:
        """The topic's name on the broker."""
        return self.kafka.topic_prefix + name

    def group(self, name: str) -> str:
        """A consumer group's name on the broker: as the topics', so that two pipelines never share one."""
        return self.kafka.topic_prefix + name

    @property
    def heals_by_itself(self) -> bool:
        """Whether `up` brings in what came too late: from the lake, where that is stored."""
        return self.heal.automatic and self.sinks.lake.enabled

    def lake_url(self) -> str:
        return self.sinks.lake.url or str(self.data_dir / "lake")

    def athena_workgroup(self) -> str:
        return self.athena.workgroup or self.aws.workgroup

    def athena_database(self) -> str:
        return self.athena.database or self.aws.database

    def archive_url(self) -> str:
        return self.sinks.archive.url or str(self.data_dir / "archive")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, DotEnv(settings_cls), WellKnownNames(settings_cls), TomlFile(settings_cls))


def _is_whole(section: Any) -> bool:
    """Whether the section of a source stands for itself, and is not only what the environment changes of one."""
    return not isinstance(section, dict) or "kind" in section


def _merge(section: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {name for name, value in changes.items() if isinstance(value, dict) and isinstance(section.get(name), dict)}
    return {**section, **changes, **{name: _merge(section[name], changes[name]) for name in both}}


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the tree. `config` must exist when it is named; the default file may be missing.

    `overrides` are nested dictionaries from the command line and win over everything.
    Raises SettingsError with one line per fault.
    """
    path = Path("marketpulse.toml") if config is None else config
    if config is not None and not path.is_file():
        raise SettingsError(f"configuration file {path} does not exist: check --config")
    try:
        with reading(path):
            return Settings(**overrides)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        raise SettingsError("\n".join(_fault(fault, path, overrides) for fault in faults)) from None
    except TOMLDecodeError as error:
        raise SettingsError(syntax_fault(error, path)) from None
    except SettingsError as error:
        raise located(error) from None
    except (ParameterError, ValueError) as error:
        raise SettingsError(f"configuration {path}: {error}") from None


def located(error: SettingsError) -> SettingsError:
    """The error with the place where somebody wrote the setting that it names, such as `marketpulse.toml:12: …`, in each
    of its lines; the error itself when it names none, or has the places."""
    lines = [(origin_in(line, latest_file()), line) for line in str(error).splitlines()]
    if any(line.startswith(f"{where}: ") for where, line in lines if where) or not any(where for where, _ in lines):
        return error
    return SettingsError("\n".join(f"{where}: {line}" if where else line for where, line in lines))


def _fault(error: ErrorDetails, file: Path, overrides: dict[str, Any]) -> str:
    """One line for one fault: where it was written, the setting, what is wrong."""
    location = list(error["loc"])
    section = _section(location[:-1])
    if location[:1] == ["sources"] and len(location) > 2:
        del location[2]  # the kind
    setting, kind = ".".join(map(str, location)), error["type"]
    message = error["msg"].removeprefix("Value error, ")
    if kind in ("dict_type", "model_type"):
        message = (
            f"this is a table, [{setting}.NAME], one for each"
            if setting == "sources"
            else f"this is a table, [{setting}]"
        )
    elif kind == "extra_forbidden" and section is not None:
        near = get_close_matches(str(location[-1]), section.model_fields, n=1)
        message = "there is no such setting" + (f": did you mean {near[0]}?" if near else ": see docs/settings.md")
    given: Any = overrides
    for name in location:
        given = given.get(name) if isinstance(given, dict) else None
    line = f"{setting or 'settings'}: {message}"
    where = "command line" if given is not None else origin_in(line, file)
    return f"{where or 'configuration'}: {line}"


def _section(location: Sequence[int | str]) -> type[BaseModel] | None:
    """The class of the section at this place; the place of a source has its kind behind its name."""
    section: Any = Settings
    for index, name in enumerate(location):
        if location[0] == "sources" and index == 1:
            continue
        if location[0] == "sources" and index == 2:
            kinds = get_args(get_args(AnySource)[0])
            section = next((model for model in kinds if model.model_fields["kind"].default == name), None)
        elif isinstance(section, type) and issubclass(section, BaseModel) and name in section.model_fields:
            section = section.model_fields[str(name)].annotation
        else:
            return None
    return section if isinstance(section, type) and issubclass(section, BaseModel) else None
