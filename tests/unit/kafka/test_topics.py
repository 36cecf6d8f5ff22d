"""The declared topics and the commands that create them."""

import itertools
import shlex
from pathlib import Path

from marketpulse.kafka.topics import Difference, print_commands, topic_specs
from marketpulse.settings import Settings

CONTRACT = ["market", "bars", "indicators", "alerts", "live", "dead-letters", "state", "control"]


def settings(tmp_path: Path, **kafka: object) -> Settings:
    return Settings(data_dir=tmp_path, kafka=kafka)


def test_the_topics_are_those_of_the_contract(tmp_path: Path) -> None:
    assert [spec.name for spec in topic_specs(settings(tmp_path))] == CONTRACT
    prefixed = topic_specs(settings(tmp_path, topic_prefix="dev."))
    assert [spec.name for spec in prefixed] == [f"dev.{name}" for name in CONTRACT]


def test_every_symbols_topic_has_12_partitions_by_default_and_state_as_many_as_market(tmp_path: Path) -> None:
    by_name = {spec.name: spec.partitions for spec in topic_specs(settings(tmp_path))}
    assert by_name == {**dict.fromkeys(CONTRACT, 12), "control": 1}
    more = {spec.name: spec.partitions for spec in topic_specs(settings(tmp_path, partitions=30))}
    assert more["state"] == more["market"] == 30


def test_the_settings_that_others_build_on(tmp_path: Path) -> None:
    configs = {spec.name: spec.configs for spec in topic_specs(settings(tmp_path))}
    assert configs["market"]["message.timestamp.type"] == "LogAppendTime"
    assert configs["market"]["max.message.bytes"] == str(8 * 2**20)
    assert configs["dead-letters"]["max.message.bytes"] == str(16 * 2**20)
    assert configs["state"]["cleanup.policy"] == configs["control"]["cleanup.policy"] == "compact"
    assert configs["live"]["retention.ms"] == "3600000"


def test_the_printed_commands_create_each_topic_as_declared(tmp_path: Path) -> None:
    chosen = settings(tmp_path, bootstrap_servers="b-1:9092", topic_prefix="dev.", replication_factor=3)
    lines = [shlex.split(line) for line in print_commands(chosen).splitlines()]
    assert len(lines) == len(CONTRACT)
    for words, spec in zip(lines, topic_specs(chosen), strict=True):
        options = dict(itertools.pairwise(words))
        configs = [words[i + 1] for i, word in enumerate(words) if word == "--config"]
        assert (words[0], options["--bootstrap-server"]) == ("kafka-topics.sh", "b-1:9092")
        assert (options["--topic"], options["--partitions"]) == (spec.name, str(spec.partitions))
        assert options["--replication-factor"] == "3"
        assert dict(c.split("=", 1) for c in configs) == spec.configs
    assert "--bootstrap-server $KAFKA_BOOTSTRAP_SERVERS " in print_commands(settings(tmp_path)), "without an address"


def test_a_difference_reads_as_a_sentence() -> None:
    assert str(Difference("market", "partitions", "12", "3")) == "market: partitions is 3, the contract has 12"
