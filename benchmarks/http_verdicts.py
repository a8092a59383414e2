"""What is wrong with what a server made of a case of the corpus: as fair to other servers as to ours.

The corpus says what pyfork does. Where the RFCs demand less, less is asked:

- Any status from 400 on refuses, whichever the corpus names.
- A case of `http_choices.txt` may be served or refused: asked is an answer, and no more answers than there can be
  requests. Marks there: "closing", whoever serves it must end the connection behind it (RFC 9112 section 6.1);
  "waiting", who waits for more is right as well; "any", whatever comes is right.
- A server may end any connection, if it says so in the response before.
- Behind a refusal, a server may go on if the framing of what it refused was clear.
- What was left unfinished may be answered with an error, with nothing, or be waited for.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from http_exchange import Answer, Exchange, Reading, read_answers

from tests.corpus_files import Case, ExpectedContent, ExpectedEnd, ExpectedRefusal, ExpectedRequest

CHOICES = Path(__file__).resolve().parent / "http_choices.txt"
CLEAR_FRAMING = {"hosts", "targets", "methods", "expect"}
"""Families of refusals behind which a server knows where the next request begins."""

SERVED = "serves what must be refused"
REFUSED = "refuses what must be served"
OTHER = "hands on something else than was sent"
GOES_ON = "takes what comes behind for a request"
CUT = "hands on a cut body as a whole one"
SILENT = "closes without an answer"
HANGS = "leaves the client without an answer"
GARBLED = "answers what is no response"
KINDS = (SERVED, GOES_ON, CUT, OTHER, REFUSED, SILENT, HANGS, GARBLED)
"""The kinds of faults, the gravest first."""


@dataclass(frozen=True)
class Fault:
    """What is wrong: a kind, and in what way."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.detail})" if self.detail else self.kind


@dataclass(frozen=True)
class _Served:
    """A request of a case that is to be served."""

    request: ExpectedRequest
    content: bytes
    trailers: tuple[tuple[bytes, bytes], ...]


class Choices:
    """The cases in which the RFCs leave a choice.

    Args:
        text: a line for each name, "*" in it for anything, with its mark behind a bar; from # on stand the reasons.

    Attributes:
        marks: the mark of each name, "" if it has none.
    """

    def __init__(self, text: str) -> None:
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        pairs = (line.partition(" | ") for line in lines if line)
        self.marks = {name.strip(): mark.strip() for name, _, mark in pairs}
        self._patterns = [(re.compile(re.escape(name).replace(r"\*", ".*")), self.marks[name]) for name in self.marks]

    def find(self, name: str) -> str | None:
        """Return the mark of a case, None if the RFCs leave no choice in it."""
        return next((mark for pattern, mark in self._patterns if pattern.fullmatch(name)), None)


def find_fault(
    case: Case, exchange: Exchange, choice: str | None = None, *, answers_once: bool = False
) -> Fault | None:
    """Return what is wrong with what came back, None if nothing is.

    Args:
        case: what was sent, with the canary behind it unless it was left unfinished.
        exchange: what came back.
        choice: None if the RFCs demand what the case says; otherwise the mark, or "".
        answers_once: the server ends each connection behind its first response, which is its right.
    """
    served = list(_requests(case)) if case.served is None else []
    reading = read_answers(exchange.octets, [each.request.method for each in served])
    if choice == "any":
        return None
    if not reading.is_readable:
        return Fault(GARBLED, repr(exchange.octets[-40:]))
    if answers_once:
        served = served[:1]
    fault = _find_breach(case, served, reading, exchange, answers_once=answers_once)
    if fault is None or choice is None or fault.kind == CUT:
        return fault
    return _find_breach_of_choice(case, served, reading, exchange, choice)


def is_refused(case: Case) -> bool:
    """Return whether the last thing in a case is to be refused."""
    return case.served is not None or any(isinstance(each, ExpectedRefusal) for each in case.expected)


def _requests(case: Case) -> Iterator[_Served]:
    request: ExpectedRequest | None = None
    content = b""
    for each in case.expected:
        if isinstance(each, ExpectedRequest):
            request, content = each, b""
        elif isinstance(each, ExpectedContent):
            content += each.octets
        elif isinstance(each, ExpectedEnd) and request is not None:
            yield _Served(request, content, each.trailers)


def _find_breach(
    case: Case, served: list[_Served], reading: Reading, exchange: Exchange, *, answers_once: bool
) -> Fault | None:
    answers = reading.answers
    for number, wanted in enumerate(served):
        if number == len(answers):
            return None if answers and answers[-1].is_last else _silence(exchange)
        fault = _compare(wanted, answers[number])
        if fault is not None:
            return fault
    rest = answers[len(served) :]
    if answers_once and served:
        return Fault(GOES_ON) if rest else None
    if is_refused(case):
        return _find_breach_of_refusal(case, bool(served) and answers[len(served) - 1].is_last, rest, exchange)
    if case.state == "waiting":
        if rest and rest[0].status == 200:
            return Fault(CUT) if len(rest) == 1 and not _is_canary(rest[0]) else Fault(GOES_ON)
        return None
    if case.state == "closed":
        return Fault(GOES_ON, _statuses(rest)) if rest else None
    if not rest:
        return None if answers and answers[-1].is_last else _silence(exchange)
    return None if _is_canary(rest[0]) and len(rest) == 1 else Fault(GOES_ON, _statuses(rest))


def _find_breach_of_refusal(case: Case, has_ended: bool, rest: list[Answer], exchange: Exchange) -> Fault | None:
    if not rest:
        return None if has_ended else _silence(exchange)
    if rest[0].status < 400:
        return Fault(GOES_ON if _is_canary(rest[0]) else SERVED, _statuses(rest))
    if any(each.status < 400 for each in rest[1:]) and case.family not in CLEAR_FRAMING:
        return Fault(GOES_ON, _statuses(rest))
    return None


def _find_breach_of_choice(
    case: Case, served: list[_Served], reading: Reading, exchange: Exchange, choice: str
) -> Fault | None:
    answers = reading.answers
    if not answers:
        is_waiting = case.state == "waiting" or (choice == "waiting" and exchange.is_open)
        return None if is_waiting else _silence(exchange)
    refused = next((number for number, each in enumerate(answers) if each.status >= 400), len(answers))
    if any(each.status < 400 for each in answers[refused:]) and case.family not in CLEAR_FRAMING:
        return Fault(GOES_ON, _statuses(answers))
    if choice == "closing" and any(map(_is_canary, answers)):
        return Fault(GOES_ON, _statuses(answers))
    most = len(served) + is_refused(case) + (case.state != "waiting")
    return Fault(GOES_ON, _statuses(answers)) if len(answers) > most else None


def _compare(wanted: _Served, answer: Answer) -> Fault | None:
    """Hold an answer to the request that it is for."""
    if answer.status >= 300:
        return Fault(REFUSED, str(answer.status))
    if wanted.request.method == "HEAD":
        return None
    seen = answer.seen
    if seen is None:
        return Fault(OTHER, f"a {answer.status} that is not the application's")
    for what, is_same in (
        ("the method", seen["method"] == wanted.request.method),
        ("the target", _is_target(seen, wanted.request.target)),
        ("the content", seen["body"] == wanted.content.decode("latin-1")),
        ("the host", _is_host(seen, wanted.request.attributes.get("host"))),
        ("a field", _has_fields(seen, wanted.request.fields)),
        ("a trailer among the fields", not _has_trailers(seen, wanted)),
    ):
        if not is_same:
            return Fault(OTHER, what)
    return None


def _is_target(seen: dict[str, Any], target: bytes) -> bool:
    """Whether the target came through, as it was or taken apart."""
    if seen["raw_target"] == target.decode("latin-1"):
        return True
    if target[:1] not in {b"/", b"*"}:
        authority, slash, rest = target.partition(b"://")[2].partition(b"/")
        _, mark, query = authority.partition(b"?")
        target = slash + rest if slash and not mark else b"/" + mark + query + slash + rest
    path, _, query = target.partition(b"?")
    paths = {path.decode("latin-1"), unquote_to_bytes(path).decode("latin-1")}
    return seen["path"] in paths and unquote_to_bytes(seen["query"]) == unquote_to_bytes(query)


def _is_host(seen: dict[str, Any], host: object) -> bool:
    if not isinstance(host, bytes):
        return True
    return seen["fields"].get("HTTP_HOST", "") == host.decode("latin-1")


def _variable(name: bytes) -> str:
    text = name.decode("latin-1").upper().replace("-", "_")
    return text if text in {"CONTENT_LENGTH", "CONTENT_TYPE"} else f"HTTP_{text}"


def _has_fields(seen: dict[str, Any], fields: list[tuple[bytes, bytes]]) -> bool:
    """Whether the fields that a case names came through; names that are not letters and hyphens may be dropped."""
    plain = [(name, value) for name, value in fields if name.replace(b"-", b"").isalnum() and name.lower() != b"host"]
    return all(value.decode("latin-1") in seen["fields"].get(_variable(name), "") for name, value in plain)


def _has_trailers(seen: dict[str, Any], wanted: _Served) -> bool:
    """Whether a trailer is among the fields (RFC 9110 section 6.5.1)."""
    return any(
        value and value.decode("latin-1").strip() == seen["fields"].get(_variable(name))
        for name, value in wanted.trailers
        if (name, value) not in wanted.request.fields
    )


def _silence(exchange: Exchange) -> Fault:
    return Fault(HANGS if exchange.is_open else SILENT)


def _is_canary(answer: Answer) -> bool:
    return answer.seen is not None and answer.seen["path"] == "/canary"


def _statuses(answers: list[Answer]) -> str:
    return " ".join(f"{each.status}{'c' * _is_canary(each)}" for each in answers)
