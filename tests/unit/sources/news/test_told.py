from marketpulse.kafka.market_contract import checked
from marketpulse.model.market import RECORD_BYTES_MAX, Kind
from marketpulse.sources.news.told import HEADLINE_MAX, SUMMARY_MAX, News


def test_a_record_keeps_the_contract_of_the_log_whatever_its_size() -> None:
    small = News("7", 5 * 10**17, "AAA opens a shop", "https://example.com/7")
    assert checked(small.body("AAA", "alpaca")) is Kind.NEWS
    assert "summary" not in small.body("AAA", "alpaca")
    large = News("x" * 10**6, 5 * 10**17, "h" * 10**6, "u" * 10**6, "p" * 10**6, "s" * 10**6, ("A",) * 10**5)
    body = large.body("AAA", "alpaca")
    assert checked(body) is Kind.NEWS
    assert (len(body["headline"]), len(body["summary"])) == (HEADLINE_MAX, SUMMARY_MAX)
    assert len(str(body)) < RECORD_BYTES_MAX / 50


def test_a_mark_is_that_of_the_id_alone() -> None:
    one = News("7", 5 * 10**17, "AAA opens a shop", "")
    assert one.mark() == one._replace(headline="AAA opens two").mark() != one._replace(news_id="8").mark()
