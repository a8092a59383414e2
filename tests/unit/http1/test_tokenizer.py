import pytest

from pyfork.errors import ProtocolError
from pyfork.http1.tokenizer import HeadTokenizer


def test_fields_are_split_and_stripped() -> None:
    """Names as sent, values without surrounding whitespace."""
    tokenizer = HeadTokenizer()
    tokenizer.feed(b"Host: \t a \t\r\nX:\r\n")
    tokenizer.feed(b"y: z\r\n\r\n")
    assert tokenizer.take_headers() == [(b"Host", b"a"), (b"X", b""), (b"y", b"z")]


def test_a_refusal_says_why() -> None:
    """llhttp's reason is fit for the log: it holds no octets of the client's."""
    with pytest.raises(ProtocolError, match="Invalid header token") as caught:
        HeadTokenizer().feed(b"A B: 1\r\n\r\n")
    assert caught.value.status == 400


def test_upgrade_is_nothing_special() -> None:
    """A head with Upgrade, at which llhttp stops, is a head."""
    tokenizer = HeadTokenizer()
    tokenizer.feed(b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\n")
    assert len(tokenizer.take_headers()) == 3
