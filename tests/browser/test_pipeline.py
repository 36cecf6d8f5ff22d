"""The view of the pipeline, over the real one."""

import json
import re

import httpx
import pytest
from confluent_kafka import Producer
from playwright.sync_api import Page, expect

from browser_stage import Stage, Visit
from running_up import Up

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

TRADE = {"type": "trade", "symbol": "SENT-AGAIN", "source": "desk", "event_time_ns": 0, "price": 12.5, "size": 100}


def open_pipeline(up: Up, visit: Visit) -> Page:
    page = visit.open(up.until_ready() + "#/pipeline")
    expect(page.get_by_role("link", name="Pipeline")).to_have_attribute("aria-current", "page")
    return page


def test_the_way_of_the_data_shows_what_the_processes_count(up: Up, visit: Visit) -> None:
    page = open_pipeline(up, visit)
    way = page.get_by_role("group", name="The way of the data")
    for name in ("market", "Engine", "bars", "lake", "Pages"):
        expect(way.get_by_role("region", name=name, exact=True)).to_be_visible()
    engine = way.get_by_role("region", name="Engine", exact=True)
    expect(engine).to_contain_text(re.compile(r"[1-9][\d.]*\s?k?/s"))
    expect(engine).to_contain_text("1 worker")
    processes = page.get_by_role("table", name="Processes")
    for name in ("broker", "process-0", "produce-market", "serve", "sink-lake", "up"):
        row = processes.get_by_role("row", name=re.compile(f"^{name} works"))
        expect(row).to_be_visible()
    hops = page.get_by_role("table", name="Latency by hop")
    expect(hops.get_by_role("row", name=re.compile(r"^One commit of the engine [\d.]+\s(ms|s)"))).to_be_visible()
    expect(
        page.get_by_role("table", name="Feed quality").get_by_role("row", name=re.compile("simulate-market"))
    ).to_be_visible()
    assert visit.complaints == []


def test_what_is_wrong_stands_at_the_top_and_a_record_is_mended_and_sent_again(up: Up, visit: Visit) -> None:
    page = open_pipeline(up, visit)
    wrong = page.get_by_role("region", name="What is wrong")
    expect(wrong).not_to_contain_text("set aside")
    producer = Producer({"bootstrap.servers": up.facts("broker")["bootstrap_servers"]})
    newest_ns = 1_000_000 * json.loads(up.get("/api/health"))["now_ms"]
    bad = json.dumps({**TRADE, "event_time_ns": newest_ns, "price": -3})
    producer.produce("market", bad, "SENT-AGAIN")
    producer.flush(20)
    expect(wrong).to_contain_text(re.compile("1 record.* set aside"))

    letters = page.get_by_role("table", name="Dead letters")
    row = letters.get_by_role("row", name=re.compile("Bad price SENT-AGAIN"))
    expect(row).to_contain_text("price must be above 0")
    row.get_by_role("button").click()
    dialog = page.get_by_role("dialog", name="Bad price")
    record = dialog.get_by_role("textbox", name="The record")
    dialog.get_by_role("button", name="Send again").click()
    expect(dialog.get_by_role("status")).to_contain_text("no market data still: price must be above 0")
    record.fill(record.input_value().replace("-3", "12.5"))
    dialog.get_by_role("button", name="Send again").click()
    expect(dialog.get_by_role("status")).to_contain_text(re.compile(r"Sent again: it stands at market/\d+@\d+ now"))
    dialog.get_by_role("button", name="Close").click()
    expect(row.get_by_role("button")).to_have_text("Sent again")
    found = up.until(
        "the mended trade is on the page's board",
        lambda: [one for one in up.symbols() if one["symbol"] == "SENT-AGAIN"],
    )
    assert found[0]["last"] == 12.5


def test_a_page_without_a_pipeline_behind_it_says_so(stage: Stage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#/pipeline")
    expect(page.get_by_role("region", name="What is wrong")).to_contain_text("The pipeline cannot be seen")
    assert httpx.get(stage.server.url + "api/pipeline").status_code == 404
