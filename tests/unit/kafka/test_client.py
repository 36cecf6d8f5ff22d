"""How clients are configured, what errors mean, where the broker is, and the declared topics."""

import itertools
import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from marketpulse.errors import EnvironmentProblem, Fatal, Retryable, SettingsError
from marketpulse.kafka import client
from marketpulse.kafka.client import error_of, resolve_bootstrap
from marketpulse.kafka.client_names import Role, known_properties, max_block_s, understand
from marketpulse.kafka.topics import Difference, print_commands, topic_specs
from marketpulse.settings import Settings, load_settings
from marketpulse.telemetry import REGISTRY
from refused import assert_raises
from waiting import wait_until


def settings(tmp_path: Path, **kafka: Any) -> Settings:
    return Settings(data_dir=tmp_path, kafka={"bootstrap_servers": "127.0.0.1:9", **kafka})


def config(tmp_path: Path, role: Any, properties: dict[str, Any], **more: str) -> dict[str, Any]:
    return client.client_config(settings(tmp_path, client=properties), role, **more)


SCRAM = r'org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="say \"please\"";'


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"buffer.memory": 33_554_432}, {"queue.buffering.max.kbytes": 32_768}),
        ({"max.request.size": 33_554_432}, {"message.max.bytes": 33_554_432}),
        *(({"max.request.size": size}, {"message.max.bytes": 2**24}) for size in (1_048_576, 2**24)),  # records have to fit
        ({"retries": 0, "max.in.flight.requests.per.connection": 10}, {"retries": None, "max.in.flight": None}),
        ({"receive.buffer.bytes": -1}, {"socket.receive.buffer.bytes": 0}),
        ({"batch.size": 16_384, "compression.type": "zstd"}, {"batch.size": 16_384, "compression.type": "zstd"}),
        *(({name: 7}, {"linger.ms": 7}) for name in ("linger.ms", "linger_ms", "producer.linger.ms")),
        ({"ssl.truststore.location": "/etc/ca.pem"}, {"ssl.ca.location": "/etc/ca.pem"}),
        ({"ssl.keystore.location": "/etc/me.pem"}, {"ssl.certificate.location": "/etc/me.pem", "ssl.key.location": "/etc/me.pem"}),
        ({"ssl.keystore.location": "/etc/me.p12", "ssl.keystore.password": "p"}, {"ssl.keystore.location": "/etc/me.p12"}),
        ({"ssl.endpoint.identification.algorithm": ""}, {"ssl.endpoint.identification.algorithm": "none"}),
        ({"sasl.jaas.config": SCRAM}, {"sasl.username": "alice", "sasl.password": 'say "please"'}),
        ({"sasl_plain_username": "alice", "sasl_plain_password": "s3"}, {"sasl.username": "alice", "sasl.password": "s3"}),
    ],
)  # fmt: skip
def test_names_in_peoples_notes_are_understood(tmp_path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    made = config(tmp_path, "producer", theirs)
    assert {name: made.get(name) for name in ours} == ours
    assert not (set(theirs) - {*ours, "ssl.keystore.password"}) & set(made)


def test_a_property_goes_to_clients_that_have_it_producers_first_but_for_what_is_fixed(tmp_path: Path) -> None:
    nowhere = ["key.serializer", "value.deserializer", "value_serializer", "interceptor.classes", "max.poll.records"]
    assert not set(nowhere) & set(config(tmp_path, "consumer", dict.fromkeys(nowhere, "x")))
    names = ("linger.ms", "fetch.wait.max.ms", "client.rack")
    both = {"linger.ms": 5, "fetch.max.wait.ms": 50, "consumer.client.rack": "a"}
    loose = {"acks": "1", "enable.idempotence": False, "partitioner": "random", "enable.auto.commit": True}
    producer, consumer = (config(tmp_path, role, {**both, **loose}) for role in ("producer", "consumer"))
    assert {name: producer[name] for name in names if name in producer} == {"linger.ms": 5}
    assert {name: consumer[name] for name in names if name in consumer} == {"fetch.wait.max.ms": 50, "client.rack": "a"}
    kept = [producer[name] for name in ("acks", "enable.idempotence", "partitioner")]
    assert [*kept, consumer["enable.auto.commit"]] == ["all", True, "murmur2_random", False]

    def made(**kafka: Any) -> tuple[Any, ...]:
        config = client.source_config(settings(tmp_path, **kafka))
        return tuple(config.get(name) for name in ("compression.type", "linger.ms", "batch.size"))

    for_all = {"compression.type": "gzip", "linger.ms": 7}
    assert made(client=for_all) == ("gzip", 7, None)
    assert made(client=for_all, producer={"compression": "zstd", "linger_ms": 0}) == ("zstd", 0, None)
    assert made(client=for_all, producer={"batch_bytes": 1_000, "linger_ms": 1.5}) == ("gzip", 1.5, 1_000)
    assert made()[:2] == ("lz4", 2), "a source waits for others two milliseconds where nothing is set"
    assert (max_block_s({"max.block.ms": 1_500}), max_block_s({})) == (1.5, 5.0)


@pytest.mark.parametrize(
    ("name", "value", "way_out"),
    [  # a secret is never in an error
        ("ssl.truststore.location", "kafka.jks", "keytool -exportcert"),
        ("ssl.keystore.location", "kafka.jks", "keytool -importkeystore"),
        ("sasl.mechanism", "AWS_MSK_IAM", "OAUTHBEARER"),
        ("sasl.jaas.config", "software.amazon.msk.auth.iam.IAMLoginModule required;", "oauth_cb"),
        ("sasl.jaas.config", 'Module required token="hunter2";', r"sasl\.jaas\.config"),
        ("buffer.memory", "64 MB", "number of bytes"),
        ("linger.mss", "5", r"\[kafka\.client\] linger\.mss: .*did you mean linger\.ms\?"),
        ("request.timeout.ms", "-5", r"\[kafka\.client\]: request\.timeout\.ms: .*outside allowed range 1\.\.900000"),
        ("security.protocol", "SASL_SSL", r"No provider for SASL mechanism GSSAPI.*set what is missing"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_way_out(tmp_path: Path, name: str, value: str, way_out: str) -> None:
    with pytest.raises(SettingsError, match=way_out) as caught:
        config(tmp_path, "producer", {name: value})
    assert "hunter2" not in str(caught.value)


def test_the_clouds_signer_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = ModuleType("a_clouds_signer")
    signer.__dict__["token"] = lambda text: (f"token for {text}", 0.0)
    monkeypatch.setitem(sys.modules, "a_clouds_signer", signer)
    assert config(tmp_path, "admin", {"oauth_cb": "a_clouds_signer:token"})["oauth_cb"]("me") == ("token for me", 0.0)
    with pytest.raises(SettingsError, match=r"package\.module:function"):
        config(tmp_path, "admin", {"oauth_cb": "a_clouds_signer:tokens"})


def test_the_client_library_takes_the_configuration_and_has_every_property_that_we_know(tmp_path: Path) -> None:
    def said_about(name: str, scope: str) -> str:
        """What the library says to a value that no property takes; nothing when it takes it."""
        base = {"group.id": "g"} if scope == "consumer" else {}
        try:
            (Consumer if scope == "consumer" else Producer)({**base, name: "no value has this form"})
        except (KafkaException, TypeError, ValueError) as error:
            return str(error)
        return ""

    clients: tuple[tuple[str, Any, dict[str, str]], ...] = (
        ("producer", Producer, {}), ("consumer", Consumer, {"group_id": "g"}), ("admin", AdminClient, {}),
    )  # fmt: skip
    for role, kind, extra in clients:
        kind(config(tmp_path, role, {"linger.ms": 3, "fetch.max.wait.ms": 9}, **extra))
    unknown = "No such configuration property"
    assert unknown in said_about("linger.mss", "producer")
    assert [n for n, scope in known_properties().items() if unknown in said_about(n, scope)] == []


def test_the_address_comes_from_the_settings_then_from_the_broker_that_runs_on_this_directory(tmp_path: Path) -> None:
    assert resolve_bootstrap(settings(tmp_path)) == "127.0.0.1:9"
    here, run_file = Settings(data_dir=tmp_path), tmp_path / "run" / "broker.json"
    assert_raises(EnvironmentProblem, "start it with `marketpulse broker`", resolve_bootstrap, here)
    run_file.parent.mkdir()
    run_file.write_text(json.dumps({"pid": os.getpid(), "bootstrap_servers": "127.0.0.1:5"}))
    assert resolve_bootstrap(here) == "127.0.0.1:5"
    run_file.write_text(json.dumps({"pid": 2**22 + 1, "bootstrap_servers": "127.0.0.1:5"}))  # of a killed one
    assert_raises(EnvironmentProblem, "", resolve_bootstrap, here)


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        *((code, Retryable, "away or busy") for code in ("_TRANSPORT", "_ALL_BROKERS_DOWN", "NOT_ENOUGH_REPLICAS")),
        ("_RESOLVE", Retryable, "bootstrap servers"), ("KAFKA_STORAGE_ERROR", Retryable, "disk"),
        ("_AUTHENTICATION", Fatal, "sasl.mechanism"), ("TOPIC_AUTHORIZATION_FAILED", Fatal, "grant"),
        ("UNKNOWN_TOPIC_OR_PART", Fatal, "marketpulse topics"), ("_FENCED", Fatal, "took over"),
        ("MSG_SIZE_TOO_LARGE", Fatal, "max.message.bytes"), ("INVALID_REQUIRED_ACKS", Fatal, "refused"),
    ],
)  # fmt: skip
def test_an_error_says_whether_to_wait_or_what_to_change(code: str, kind: type, says: str) -> None:
    judged = error_of(KafkaException(KafkaError(getattr(KafkaError, code))))
    assert type(judged) is kind
    assert says in str(judged)


def test_a_lost_transaction_can_be_tried_again_what_is_called_fatal_is_and_all_are_counted(tmp_path: Path) -> None:
    assert isinstance(error_of(KafkaError(KafkaError._STATE, "aborted", False, False, True)), Retryable)
    assert isinstance(error_of(KafkaError(KafkaError._TIMED_OUT, "gap", True)), Fatal)
    config(tmp_path, "producer", {})["error_cb"](KafkaError(KafkaError._TRANSPORT))
    assert b'marketpulse_broker_errors_total{code="_TRANSPORT"}' in generate_latest(REGISTRY)


JAVAS = """\
bootstrap.servers = "127.0.0.1:9"
acks = "1"
key.serializer = "org.apache.kafka.common.serialization.StringSerializer"
compression.type = "snappy"
linger.ms = 5
batch.size = 16384
buffer.memory = 33554432
max.block.ms = 1500
delivery.timeout.ms = 120000
retries = 3
client.id = "prices"
security.protocol = "SASL_PLAINTEXT"
sasl.mechanism = "PLAIN"
sasl.username = "me"
"""


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """What is logged as a warning or worse."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with capture_logs() as lines:
        yield lines
    structlog.configure(**before)


@pytest.mark.parametrize("pasted", [
    f"[kafka.producer]\n{JAVAS}", "[kafka.producer]\n" + JAVAS.replace("linger.ms", '"linger.ms"').replace("batch.size", "batch_size"),
    '[kafka]\nproducer = """\n# of our old program\n' + JAVAS.replace('"', "").replace(" = ", "=") + '"""',
])  # fmt: skip
def test_javas_producer_block_is_taken_as_it_is_its_address_and_login_for_every_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[Any], pasted: str
) -> None:
    (tmp_path / "marketpulse.toml").write_text(pasted)
    monkeypatch.setenv("MARKETPULSE_KAFKA__CLIENT", '{"sasl.password": "hidden"}')
    monkeypatch.setattr(client, "_left_out", set())
    chosen = load_settings(tmp_path / "marketpulse.toml")
    client.check_clients(chosen)
    made = client.source_config(chosen, transactional_id="t")
    reader = client.client_config(chosen, "consumer", group_id="g")
    own = ["compression.type", "linger.ms", "batch.size", "queue.buffering.max.kbytes", "retries", "client.id", "acks"]
    assert [str(made[name]) for name in own] == ["snappy", "5.0", "16384", "32768", "3", "prices", "all"]
    login = [reader[name] for name in ("bootstrap.servers", "sasl.username", "sasl.password")]
    assert login == ["127.0.0.1:9", "me", "hidden"]
    assert not {"linger.ms", "retries", "compression.type"} & set(reader)
    assert sorted(line["name"] for line in logged) == ["acks", "delivery.timeout.ms", "key.serializer"], "once each"
    assert "hidden" not in str(logged)
    Producer(made | {"logger": None})  # the library takes them


JAVAS_NAMES = """
acks buffer.memory compression.gzip.level config.providers delivery.timeout.ms interceptor.classes key.serializer max.block.ms
max.in.flight.requests.per.connection max.request.size metadata.max.idle.ms metric.reporters metrics.num.samples metrics.sample.window.ms
partitioner.adaptive.partitioning.enable partitioner.class partitioner.ignore.keys receive.buffer.bytes send.buffer.bytes
sasl.client.callback.handler.class sasl.kerberos.ticket.renew.jitter sasl.login.class sasl.oauthbearer.clock.skew.seconds security.providers
socket.connection.setup.timeout.max.ms ssl.enabled.protocols ssl.engine.factory.class ssl.keystore.type ssl.truststore.password
transaction.two.phase.commit.enable value.serializer default.api.timeout.ms exclude.internal.topics fetch.max.wait.ms key.deserializer
max.poll.records share.acknowledgement.mode value.deserializer
"""
"""Of ProducerConfig and ConsumerConfig in Apache Kafka 4.2: those that librdkafka has not, or has otherwise."""


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_every_name_of_javas_clients_is_understood(role: Role) -> None:
    understand(dict.fromkeys(JAVAS_NAMES.split(), 1), role)


CONTRACT = ["market", "bars", "indicators", "alerts", "live", "dead-letters", "state", "control"]


def test_topics_are_the_contracts_printed_commands_create_them_and_a_difference_is_a_sentence(tmp_path: Path) -> None:
    specs, prefixed = (topic_specs(settings(tmp_path, **more)) for more in ({}, {"topic_prefix": "dev."}))
    names, dev_names = ([spec.name for spec in some] for some in (specs, prefixed))
    assert (names, dev_names) == (CONTRACT, [f"dev.{name}" for name in CONTRACT])
    assert {spec.name: spec.partitions for spec in specs} == {**dict.fromkeys(CONTRACT, 12), "control": 1}
    more = {spec.name: spec.partitions for spec in topic_specs(settings(tmp_path, partitions=30))}
    assert more["state"] == more["market"] == 30
    configs = {spec.name: spec.configs for spec in specs}
    assert configs["market"]["message.timestamp.type"] == "LogAppendTime"
    assert configs["market"]["max.message.bytes"] == str(8 * 2**20)
    assert configs["dead-letters"]["max.message.bytes"] == str(16 * 2**20)
    assert configs["state"]["cleanup.policy"] == configs["control"]["cleanup.policy"] == "compact"
    assert configs["live"]["retention.ms"] == "3600000"
    chosen = settings(tmp_path, bootstrap_servers="b-1:9092", topic_prefix="dev.", replication_factor=3)
    lines = [shlex.split(line) for line in print_commands(chosen).splitlines()]
    assert len(lines) == len(CONTRACT)
    for words, spec in zip(lines, topic_specs(chosen), strict=True):
        options = dict(itertools.pairwise(words))
        given = [words[i + 1] for i, word in enumerate(words) if word == "--config"]
        assert (words[0], options["--bootstrap-server"]) == ("kafka-topics.sh", "b-1:9092")
        assert (options["--topic"], options["--partitions"]) == (spec.name, str(spec.partitions))
        assert (options["--replication-factor"], dict(c.split("=", 1) for c in given)) == ("3", spec.configs)
    assert "--bootstrap-server $KAFKA_BOOTSTRAP_SERVERS " in print_commands(Settings(data_dir=tmp_path))
    assert str(Difference("market", "partitions", "12", "3")) == "market: partitions is 3, the contract has 12"


def test_a_connection_that_could_not_be_made_is_not_one_that_a_producer_lost() -> None:
    refused: list[KafkaError] = []
    nowhere = {"bootstrap.servers": "127.0.0.1:1", "transactional.id": "nobody", "error_cb": refused.append}
    producer = client.LogProducer(nowhere)
    wait_until(lambda: producer.poll(0.1) or refused, "the refused connection is reported")
    assert producer.lost_connection() == ""
