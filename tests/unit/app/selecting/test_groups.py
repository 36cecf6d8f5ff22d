from pathlib import Path
from typing import Any

import pytest

from marketpulse.app.selecting.groups import failover_config, topic_of
from marketpulse.errors import SettingsError
from marketpulse.settings import Settings

SOURCES = {"one": {"kind": "simulate"}, "two": {"kind": "simulate"}, "simulate": {"kind": "simulate"}}


def settings_of(tmp_path: Path, **failover: Any) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path, "sources": SOURCES, "failover": failover})


def test_groups_name_sources_as_the_configuration_does_and_rows_carry_them_otherwise(tmp_path: Path) -> None:
    groups = {"g": {"sources": ["two", "simulate"], "symbols": ["A"]}}
    config = failover_config(settings_of(tmp_path, groups=groups, after_s=7, back_after_s=0))
    assert config.groups[0].sources == ("simulate-two", "simulate")
    assert config.groups[0].symbols == {"A"}
    assert (config.after_ns, config.back_after_ns) == (7 * 10**9, 0)


def test_a_source_that_is_not_configured_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"failover.groups.g: there is no source 'three'"):
        failover_config(settings_of(tmp_path, groups={"g": {"sources": ["one", "three"]}}))


def test_only_sources_of_a_group_write_past_market(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, groups={"g": {"sources": ["one", "two"]}})
    assert [topic_of(settings, name) for name in SOURCES] == ["feeds", "feeds", "market"]
    assert topic_of(settings_of(tmp_path), "one") == "market"
