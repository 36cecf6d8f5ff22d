from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis.strategies import text
from pydantic import SecretStr

from marketpulse.sources.rest.secret import HIDDEN, Key, Veil

PRINTABLE = text(alphabet=[chr(c) for c in range(33, 127) if chr(c) != "*"], min_size=3, max_size=24)


@given(value=PRINTABLE, around=text(alphabet="xyz =&?", max_size=10))
def test_no_form_of_the_key_stays(value: str, around: str) -> None:
    veil = Veil(Key(SecretStr(value), parameter="apikey"))
    for form in (value, quote(value, safe=""), quote_plus(value), value.lower()):
        shown = veil.text(f"{around}{form}{around}{form}")
        assert HIDDEN in shown
        assert form not in shown.replace(HIDDEN, "")


def test_a_key_is_sent_where_the_vendor_wants_it() -> None:
    key = SecretStr("k3y")
    assert Key(key, parameter="apikey").parameters() == {"apikey": "k3y"}
    assert Key(key, parameter="apikey").headers() == {}
    assert Key(key, header="Authorization", scheme="Bearer ").headers() == {"Authorization": "Bearer k3y"}
    assert "k3y" not in repr(Key(key, parameter="apikey"))


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    veil = Veil(Key(SecretStr("k3y"), parameter="apikey"))
    assert veil.data(b"\xff\x00k3y\xfe") == b"\xff\x00***\xfe"


def test_without_a_key_nothing_is_hidden() -> None:
    assert Veil(None).text("anything") == "anything"
    assert Veil(Key(SecretStr(""), parameter="apikey")).text("anything") == "anything"


def test_a_frame_stays_as_long_as_it_was() -> None:
    veil = Veil(Key(SecretStr("hush")))
    assert veil.frame(b"\x91\xa9not hush!\xff") == b"\x91\xa9not ****!\xff"
    assert Veil().frame(b"\xff") == b"\xff"
