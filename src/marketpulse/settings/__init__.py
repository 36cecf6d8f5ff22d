"""Every setting, its default and its meaning, in one typed tree.

    marketpulse.toml  <  environment and .env (MARKETPULSE_…)  <  command line

Nested names in the environment are joined by two underscores: MARKETPULSE_KAFKA__PARTITIONS=24.
`KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_TOPIC`, `AWS_S3_BUCKET`, `API_KEY` and `INFLUX_TOKEN` are understood too. Secrets (the Kafka
client's passwords, API keys) come from the environment or `.env` only, never from the file.
"""

from marketpulse.settings.sections import (
    DEFAULT_INDICATORS,
    BrokerSettings,
    EngineSettings,
    KafkaProducerSettings,
    KafkaSettings,
    KafkaSourceSettings,
    Mapping,
    ParitySettings,
    ProcessSettings,
    QualitySettings,
    ReplaySettings,
    Section,
    ServeSettings,
    SimulateSettings,
    SqlSettings,
    TelemetrySettings,
)
from marketpulse.settings.stores import (
    ArchiveSettings,
    AthenaSettings,
    AwsSettings,
    CatalogSettings,
    InfluxSettings,
    LakeSettings,
    PostgresSettings,
    RedisSettings,
    S3Settings,
    SinkSettings,
    StoreSettings,
)
from marketpulse.settings.streams import (
    AlpacaSettings,
    BinanceSettings,
    CoinbaseSettings,
    FinnhubSettings,
    KeyedStreamSettings,
    PolygonSettings,
    RecordingSettings,
    StreamSettings,
)
from marketpulse.settings.tree import Settings, load_settings
from marketpulse.settings.vendors import (
    AlphaVantageSettings,
    AnySource,
    FinnhubBarsSettings,
    HttpSettings,
    KeySettings,
    PolledSettings,
    StdinSettings,
    YahooSettings,
)

__all__ = [
    "DEFAULT_INDICATORS",
    "AlpacaSettings",
    "AlphaVantageSettings",
    "AnySource",
    "ArchiveSettings",
    "AthenaSettings",
    "AwsSettings",
    "BinanceSettings",
    "BrokerSettings",
    "CatalogSettings",
    "CoinbaseSettings",
    "EngineSettings",
    "FinnhubBarsSettings",
    "FinnhubSettings",
    "HttpSettings",
    "InfluxSettings",
    "KafkaProducerSettings",
    "KafkaSettings",
    "KafkaSourceSettings",
    "KeySettings",
    "KeyedStreamSettings",
    "LakeSettings",
    "Mapping",
    "ParitySettings",
    "PolledSettings",
    "PolygonSettings",
    "PostgresSettings",
    "ProcessSettings",
    "QualitySettings",
    "RecordingSettings",
    "RedisSettings",
    "ReplaySettings",
    "S3Settings",
    "Section",
    "ServeSettings",
    "Settings",
    "SimulateSettings",
    "SinkSettings",
    "SqlSettings",
    "StdinSettings",
    "StoreSettings",
    "StreamSettings",
    "TelemetrySettings",
    "YahooSettings",
    "load_settings",
]
