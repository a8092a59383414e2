"""Makes sequence diagrams (mermaid) of what the logs of pyfork say; `make_sequences` has the runs.

A line above the level debug that no rule knows is an error: what happens is drawn, or is left out on purpose.
"""

import re
from collections.abc import Sequence

_NAME = r"(?P<name>(?:worker|mold) \d+ gen \d+) \(pid (?P<child>\d+)\)"
_LINE = re.compile(r"\[[^\]]+\] \[(?P<pid>\d+)\] \[(?P<level>\w+)\] \[(?P<who>[^\]]+)\] (?P<message>.*)")
_ANSWERED = re.compile(r'answered: <?(?P<pid>\d+)>? "(?P<request>\S+ \S+) \S+" (?P<status>\d+)')
_NEW_ARBITER = r"upgrade: the new arbiter \(pid (?P<other>\d+)\)"
RULES = (
    (r"signal SIG(?P<signal>\w+): (?P<verb>.*)", "operator ->> {me}: {signal} ({verb})"),
    (_NAME + " is booting", "{forker} ->> {child}: fork"),
    (_NAME + " is made of a worker", "{promoted} ->> {child}: fork"),
    (_NAME + " is ready", "{child} ->> {me}: ready"),
    (_NAME + r" is sent SIG(?P<order>\w+)", "{me} ->> {child}: {order}"),
    (_NAME + r" is asked to fork (?P<awaited>\w+ \d+ gen \d+)", "{me} ->> {child}: fork {awaited}"),
    (_NAME + " is to be replaced: (?P<why>.*)", "{child} ->> {me}: to be replaced: {why}"),
    (_NAME + " could not boot: (?P<why>.*)", "{child} --x {me}: {why}"),
    (_NAME + " has ended", "{child} -->> {me}: exits"),
    (f"refork: {_NAME} is asked to (?P<awaited>become the mold) of the others", "{me} ->> {child}: {awaited}"),
    (_NEW_ARBITER + " starts its workers", "{me} ->> {other}: fork, exec"),
    (_NEW_ARBITER + " is ready", "{other} ->> {me}: ready"),
    (r"pyfork \S+ starts \(pid \d+\), to replace pid ", "Note over {me}: starts, to replace the old one"),
    (r"upgrade: this arbiter has taken over from pid (?P<other>\d+)", "{other} ->> {me}: take over"),
    (r"(?P<news>upgrade failed: .*?) \(pid \d+\)(?P<rest>.*)", "Note over {me}: {news}{rest}"),
    (
        r"scaling: the workers are busy .*: (?P<news>\d+ (?:is|are) wanted.*)",
        "Note over {me}: the workers are busy: {news}",
    ),
    (r"(?P<news>(?:\d+ to )?\d+ workers? (?:is|are) wanted.*)", "Note over {me}: {news}"),
    (r"(?P<news>refork: the workers .*)", "Note over {me}: {news}"),
    (r"(?P<news>reload.*: .*)", "Note over {me}: {news}"),
    (r"(?P<news>stopped .*)", "Note over {me}: {news}"),
    (r"begins: (?P<request>.*)", "client ->> {me}: {request}"),
)
"""What a log line becomes; the first that matches. Groups that are pids, `_PIDS`, become names."""
LEFT_OUT = re.compile(r"reloading with workers of |upgrade: it begins$|listening at |\d+ worker\(s\) of type ")
"""What adds nothing to a diagram; a message's beginning."""
MEANINGS = {
    "TERM": "TERM (finish and end)",
    "QUIT": "QUIT (end at once)",
    "KILL": "KILL",
    "USR1": "USR1 (reopen the logs)",
}
"""What the arbiter tells its children by signals; docs/signals.md."""
_PIDS = ("child", "other")
_ENDS = re.compile(r"Note over (\w+):|(\w+) -\S+ (\w+):")


def draw(before: str, log: str, follows: Sequence[tuple[str, str]] = ()) -> str:
    """Return a sequence diagram of ``log``.

    Args:
        before: what was logged before; it tells the names of those who are there.
        log: of the scenario.
        follows: pairs of a message and what it brings about elsewhere, while the others go on; each is the beginning
            of a line of the diagram. What is brought about is drawn right after its cause: the log has it there, or
            later, as it happens.

    Raises:
        ValueError: a line is unknown, or one of ``follows`` is missing or comes before its cause.
    """
    names = _name_all(before, log)
    speakers = _Speakers(names)
    lines = [line for entry in log.splitlines() if (line := speakers.line(entry)) is not None]
    for cause, effect in follows:
        _move(lines, cause, effect)
    shown = {end for line in lines for end in _ENDS.match(line).groups()}
    everyone = [name for name in ("operator", "client", *names.values()) if _identifier(name) in shown]
    head = [f"participant {_identifier(name)} as {name}" for name in everyone]
    text = "\n".join(f"    {line}" for line in [*head, *(line.replace(";", "#59;") for line in lines)])
    return f"```mermaid\nsequenceDiagram\n{text}\n```\n"


def _name_all(before: str, log: str) -> dict[str, str]:
    """Return pids and what they are called, in the order of their columns.

    Of two arbiters one is old and one is new, and so are their children. Who has the name of another that was there
    before is the next of that name.
    """
    speakers = re.findall(r"(?m)^\[[^\]]+\] \[(\d+)\] \[\w+\] \[arbiter\]", before + log)
    arbiters = dict.fromkeys(speakers, "")
    if len(arbiters) > 1:
        arbiters = dict(zip(arbiters, ("old ", "new "), strict=True))
    there = _name(before, arbiters, {})
    there = dict(sorted(there.items(), key=lambda item: item[1]))  # they may have been born in any order
    return _name(log, arbiters, there)


def _name(log: str, arbiters: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """Return ``names`` and those that ``log`` adds; ``arbiters`` has what goes before the names of each and its own."""
    names = dict(names)
    for entry in filter(None, map(_LINE.match, log.splitlines())):
        mine = arbiters.get(entry["pid"])
        if mine is None:
            continue
        names.setdefault(entry["pid"], f"{mine}arbiter")
        for found in re.finditer(_NAME, entry["message"]):
            name = mine + found["name"]
            while found["child"] not in names and name in names.values():
                name = f"next {name}"
            names.setdefault(found["child"], name)
    return names


def _move(lines: list[str], cause: str, effect: str) -> None:
    """Put the line that begins with ``effect`` right after the one that begins with ``cause``."""
    found = [next((i for i, line in enumerate(lines) if line.startswith(words)), None) for words in (cause, effect)]
    where, whence = found
    if where is None or whence is None or whence < where:
        raise ValueError(f"{effect!r} does not follow {cause!r}:\n" + "\n".join(lines))
    lines.insert(where + 1, lines.pop(whence))


class _Speakers:
    """Turns the lines of a log into those of a diagram; remembers who was asked to fork whom."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._asked: dict[str, str] = {}

    def line(self, entry: str) -> str | None:
        """Return what an entry of the log becomes, None for nothing."""
        answered = _ANSWERED.match(entry)
        if answered:
            return f"{self._find(answered['pid'])} -->> client: {answered['status']} ({answered['request']})"
        found = _LINE.match(entry)
        if found is None or LEFT_OUT.match(found["message"]):
            return None  # also the rest of a traceback
        for pattern, template in RULES:
            match = re.match(pattern, found["message"])
            if match:
                return self._fill(template, self._find(found["pid"]), match.groupdict())
        if found["level"] == "DEBUG":
            return None
        raise ValueError(f"no rule knows this line of the log: {entry}")

    def _fill(self, template: str, me: str, words: dict[str, str]) -> str:
        words = {word: self._find(value) if word in _PIDS else value for word, value in words.items()}
        if "order" in words:
            words["order"] = MEANINGS[words["order"]]
        if "awaited" in words:
            self._asked[words["awaited"]] = words["child"]
        forker = self._asked.get(words.get("name", ""), me)
        return template.format(me=me, forker=forker, promoted=self._asked.get("become the mold"), **words)

    def _find(self, pid: str) -> str:
        return _identifier(self._names[pid])


def _identifier(name: str) -> str:
    return name.replace(" ", "")
