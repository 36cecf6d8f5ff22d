"""The engine's configuration from the settings; the same for `process` and `compute`."""

from typing import Any

from marketpulse.alerts.rule_json import rule_from_json
from marketpulse.app.calendars import session_rules, sessions_by, sessions_of
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import ParameterError, SettingsError
from marketpulse.indicators.catalogue import Spec, parse_indicators
from marketpulse.indicators.own import own_indicators
from marketpulse.model.quality import DEFAULT_LIMITS, RULES
from marketpulse.settings import EngineSettings, QualitySettings


def specs_of(settings: EngineSettings, indicators: str | None = None) -> tuple[Spec, ...]:
    """What is to be computed: the settings' indicators, or these; of the catalogue and of the user's files."""
    text = settings.indicators if indicators is None else indicators
    return parse_indicators(text, own_indicators(settings.indicator_files))


def engine_config(settings: EngineSettings) -> EngineConfig:
    """Raises SettingsError that names the setting at fault."""
    hours = settings.parsed_extended_hours() if settings.sessions == "extended" else {}
    for name in hours:
        if sessions_of(name) is None or name == "24x7":
            raise SettingsError(f"engine.extended_hours: calendar {name!r} is unknown: use a MIC such as XNYS")
    try:
        return EngineConfig(
            frames=settings.parsed_timeframes(),
            indicators=specs_of(settings),
            sessions_of=sessions_by(settings.sessions, hours),
            session_rules=session_rules(settings.sessions, hours),
            calendar=settings.calendar,
            venue_calendars=dict(settings.venue_calendars),
            lateness_ns=settings.lateness_ms * 1_000_000,
            source_timeout_ns=round(settings.source_timeout_s * 1e9),
            max_age_ns=round(settings.max_age_s * 1e9),
            max_skew_ns=round(settings.max_skew_s * 1e9),
            grace_ns=round(settings.auction_grace_s * 1e9),
            fill=settings.fill == "previous",
            bars_from=settings.bars_from,
            larger_bars=settings.larger_bars,
            symbols_max=settings.symbols_max,
            window_ns=round(settings.correction_window_s * 1e9),
            window_trades=settings.correction_trades,
            kept_bars=settings.correction_bars,
            revise_each=settings.revise_every == "row",
            **_quality(settings.quality),
            alerts=tuple(rule_from_json(rule) for rule in settings.alerts),
        )
    except ParameterError as error:
        place = "engine.alerts" if str(error).startswith("alert rule") else "engine"
        for index, rule in enumerate(settings.alerts):
            if str(error).startswith(f"rule {rule.get('name')!r}:"):
                place = f"engine.alerts.{index}"
        raise SettingsError(f"{place}: {error}") from None


def _quality(settings: QualitySettings) -> dict[str, Any]:
    values = settings.model_dump()
    return {
        "quality": {rule: values[rule] for rule in RULES},
        "quality_limits": {name: values[name] for name in DEFAULT_LIMITS},
    }
