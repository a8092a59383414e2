"""The judge excuses what it must, and nothing else: a suite that forgives everything finds nothing."""

import dataclasses
import socket
import threading
from random import Random

import pytest

from tests.faults.client import HABITS, Habit, Load, body_of
from tests.faults.judge import Attempt, Death, Outcome, Terms, judge
from tests.harness import reserve_port, wait_until

TERMS = Terms(idle_limit=1.5)
LOST = Attempt("kept", 1, Outcome.BROKEN, 4000, 10.0, 10.0, 11.0, 12.0)
DEATH = Death(77, 11.5, frozenset({4000, 4001}))


def changed(**fields: object) -> Attempt:
    """Return the attempt that is lost, with some of it otherwise."""
    return dataclasses.replace(LOST, **fields)


def test_a_request_without_a_death_is_lost() -> None:
    """There is nobody to blame but the server."""
    assert judge([LOST], [], TERMS).losses == [LOST]


def test_the_death_of_who_held_the_connection_excuses() -> None:
    """A request in flight, one that was still arriving, and one sent into the face of the death."""
    attempts = [LOST, changed(outcome=Outcome.LATE), changed(began=11.6, idle=0.1, pid=77)]
    verdict = judge(attempts, [DEATH], TERMS)
    assert (verdict.losses, verdict.excused) == ([], attempts)


@pytest.mark.parametrize(
    "attempt",
    [
        changed(port=4002),
        changed(opened=11.6, connected=11.6, began=11.6),
        changed(ended=11.4),
        changed(outcome=Outcome.WRONG),
        changed(outcome=Outcome.BEHIND_CLOSE),
        changed(outcome=Outcome.REFUSED, port=0, connected=None),
    ],
    ids=["another's", "a later connection of the same port", "before it", "wrong", "closed in order", "refused"],
)
def test_a_death_excuses_nothing_else(attempt: Attempt) -> None:
    """What another worker held, what came later or failed before, a wrong answer, a refusal."""
    assert judge([attempt], [DEATH], TERMS).losses == [attempt]


def test_after_a_stop_who_was_not_connected_is_not_lost() -> None:
    """Refused, or in the queue too late; whoever was connected before is owed an answer."""
    terms = dataclasses.replace(TERMS, stopped_at=10.5)
    refused = changed(outcome=Outcome.REFUSED, port=0, connected=None, opened=11.0)
    late = changed(opened=10.6, connected=10.6)
    assert judge([refused, late], [], terms).apart.total() == 2
    assert judge([LOST], [], terms).losses == [LOST]
    assert judge([refused], [], dataclasses.replace(terms, stopped_at=20.0)).losses == [refused]


def test_an_idle_connection_may_be_closed_by_a_stop_and_not_otherwise() -> None:
    """Its client's request crosses our FIN; with an octet of the answer on its way it was no idle connection."""
    idle = changed(idle=0.2)
    terms = dataclasses.replace(TERMS, stopped_at=10.5)
    assert judge([idle], [], terms).apart.total() == 1
    assert judge([idle], [], TERMS).losses == [idle]
    begun = changed(idle=0.2, octets=17)
    assert judge([begun], [], terms).losses == [begun]


def test_a_client_that_idles_for_too_long_may_find_the_connection_closed() -> None:
    """Only then, and only without an octet of the answer; also one that idles before its first request."""
    assert judge([changed(idle=1.6)], [], TERMS).apart.total() == 1
    assert judge([changed(began=11.6)], [], TERMS).apart.total() == 1
    for attempt in (changed(idle=1.4), changed(idle=1.6, octets=3)):
        assert judge([attempt], [], TERMS).losses == [attempt]


def test_what_is_pipelined_behind_a_close_is_lost_unless_every_response_closes() -> None:
    """Sync says so with each response; the others answer what has come before they close."""
    behind = changed(outcome=Outcome.BEHIND_CLOSE)
    assert judge([behind], [], TERMS).losses == [behind]
    assert judge([behind], [], dataclasses.replace(TERMS, closes_each=True)).apart.total() == 1


class Careless(threading.Thread):
    """A server that answers one request of a connection, by one of the ways to get it wrong."""

    def __init__(self, way: str) -> None:
        super().__init__(daemon=True)
        self.way = way
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self) -> None:
        """Serve one connection after the other; every third is treated carelessly."""
        served = 0
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                served += 1
                self.answer(connection, request, is_careless=served % 3 == 0)

    def answer(self, connection: socket.socket, request: bytes, *, is_careless: bool) -> None:
        """Answer, or do not."""
        number = int(request.split(b"number=")[1].split(b"&")[0])
        if is_careless and self.way == "another's answer":
            number += 1
        body = body_of(number, 100)
        octets = b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nX-Pid: 1\r\nContent-Length: 100\r\n\r\n%b" % (number, body)
        if is_careless and self.way == "dropped":
            return
        if is_careless and self.way == "an error":
            octets = octets.replace(b"200 OK", b"503 Busy")
        connection.sendall(octets[:-1] if is_careless and self.way == "cut short" else octets)


@pytest.mark.parametrize("way", ["dropped", "cut short", "an error", "another's answer"])
def test_a_careless_server_is_found_out(way: str) -> None:
    """One answer of three is not given, not whole, or not the right one: the clients know, and the judge says so."""
    server = Careless(way)
    server.start()
    load = Load(server.port, Random(1), (Habit("fresh", download=100), Habit("slow", download=100, is_slow=True)))
    with load:
        wait_until(lambda: len(load.attempts) >= 3, "some requests are lost")
    server.listener.close()
    losses = judge(load.take(), [], TERMS).losses
    assert len(losses) >= 3
    expected = Outcome.BROKEN if way in {"dropped", "cut short"} else Outcome.WRONG
    assert {loss.outcome for loss in losses} == {expected}
    assert load.answered().total() >= len(losses)


def test_a_server_that_refuses_is_found_out() -> None:
    """Nobody listens: every attempt is a loss, unless a stop was asked for."""
    with Load(reserve_port(), Random(1), HABITS[:1]) as load:
        wait_until(lambda: len(load.attempts) >= 2, "some requests are refused")
    losses = judge(load.take(), [], TERMS).losses
    assert {loss.outcome for loss in losses} == {Outcome.REFUSED}
