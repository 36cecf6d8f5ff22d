"""The step that travels to Spark's workers."""

import pickle

from marketpulse.app.engine_config import engine_config
from marketpulse.app.pipeline.spark import make_step
from marketpulse.engine.checkpoint import computation
from marketpulse.settings import Settings


def test_a_step_that_was_pickled_computes_what_the_settings_say() -> None:
    settings = Settings(
        engine={"timeframes": ("5t", "1s", "1d"), "indicators": "ema(4)", "calendar": "XNYS", "fill": "previous"},
        kafka={"topic_prefix": "a-"},
    )
    step = pickle.loads(pickle.dumps(make_step(settings)))()  # noqa: S301  (our own bytes)
    assert computation(step.config) == computation(engine_config(settings.engine))
    assert step.topic == "a-market"
