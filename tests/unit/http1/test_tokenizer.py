import pytest

from pyfork.errors import ProtocolError
from pyfork.http1.tokenizer import HeadTokenizer


def test_fields_are_split_and_stripped() -> None:
    """Names as sent, values without surrounding whitespace."""
    tokenizer = HeadTokenizer()
    tokenizer.feed(b"GET / HTTP/1.1\r\nHost: \t a \t\r\nX:\r\n")
    tokenizer.feed(b"y: z\r\n\r\n")
    assert tokenizer.take_headers() == [(b"Host", b"a"), (b"X", b""), (b"y", b"z")]


def test_fields_are_taken_once() -> None:
    """Each head has a list of its own."""
    tokenizer = HeadTokenizer()
    tokenizer.feed(b"GET / HTTP/1.1\r\nA: 1\r\n\r\n")
    first = tokenizer.take_headers()
    tokenizer.feed(b"GET / HTTP/1.1\r\nB: 2\r\n\r\n")
    assert first == [(b"A", b"1")]
    assert tokenizer.take_headers() == [(b"B", b"2")]


def test_a_refusal_says_why() -> None:
    """llhttp's reason is fit for the log: it holds no octets of the client's."""
    with pytest.raises(ProtocolError, match="Invalid header token") as caught:
        HeadTokenizer().feed(b"GET / HTTP/1.1\r\nA B: 1\r\n\r\n")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: 1\r\n",
    ],
)
def test_restart(head: bytes) -> None:
    """Behind what llhttp does not go on from, it is made anew."""
    tokenizer = HeadTokenizer()
    tokenizer.feed(head)
    tokenizer.restart()
    tokenizer.feed(b"GET / HTTP/1.1\r\nB: 2\r\n\r\n")
    assert tokenizer.take_headers() == [(b"B", b"2")]


def test_upgrade_is_nothing_special() -> None:
    """Behind a head with Upgrade, whose content llhttp leaves out, the tokenizer is ready for the next."""
    tokenizer = HeadTokenizer()
    tokenizer.feed(b"POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\n")
    assert len(tokenizer.take_headers()) == 3
    tokenizer.feed(b"GET / HTTP/1.1\r\nB: 2\r\n\r\n")
    assert tokenizer.take_headers() == [(b"B", b"2")]
