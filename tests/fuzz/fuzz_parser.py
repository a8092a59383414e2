"""Looks for octets with which the parser breaks a rule of `invariants.py`, driven by coverage (atheris, libFuzzer).

    make fuzz                       a minute of it, then other requests to real servers (tests/contract/test_fuzzed.py)
    make fuzz FUZZ_SECONDS=3600     an hour of each

It begins with the cases of tests/corpus/http1/ and goes on with what earlier runs have found worth keeping in
`.fuzz/corpus`. Octets that break a rule are written to `.fuzz/crash-...`, and printed as the corpus has them: once the
rule holds again, they become a case there.
"""

import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["pyfork.http1"]):
    from tests.corpus_files import load_cases
    from tests.fuzz.invariants import check

KEPT = ROOT / ".fuzz"
MOST_OCTETS = 512
WORDS = (
    *("GET ", "POST ", "HEAD ", "OPTIONS * ", "CONNECT ", "PRI * HTTP/2.0", " HTTP/1.1\\r\\n", " HTTP/1.0\\r\\n"),
    *("Host: a\\r\\n", "Host:", "http://a/", "[::1]:80", "\\r\\n\\r\\n", "\\r\\n", "\\n", "\\r", "\\x00", "\\t", " "),
    *("Content-Length: 3\\r\\n", "Content-Length: ", "Transfer-Encoding: chunked\\r\\n", "Transfer-Encoding: "),
    *("Connection: close\\r\\n", "Connection: keep-alive\\r\\n", "Connection: Upgrade\\r\\nUpgrade: h2c\\r\\n"),
    *(
        "Expect: 100-continue\\r\\n",
        "0\\r\\n\\r\\n",
        "1\\r\\nx\\r\\n",
        "5;a=\\x22b\\x22\\r\\n",
        "0\\r\\nX: y\\r\\n\\r\\n",
    ),
    *("ffffffffffffffff", "10000000000000000", "X_Y: z\\r\\n", "Cookie: a\\r\\n", "?", "#", "%00", ";", ",", ":"),
)
"""What libFuzzer's mutations put in, as its dictionaries have it."""


def test_one_input(octets: bytes) -> None:
    """Check the rules; tell what breaks one."""
    try:
        check(octets)
    except BaseException:
        print(f"\nThe octets, as a case of the corpus:\n> {escape(octets)}\n", flush=True)
        raise


def escape(octets: bytes) -> str:
    """Write octets as tests/corpus/http1/README.md says."""
    named = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0x00: "\\0", 0x5C: "\\\\", 0x7B: "\\{", 0x7D: "\\}"}
    return "".join(named.get(each) or (chr(each) if 0x20 <= each < 0x7F else f"\\x{each:02x}") for each in octets)


def main() -> None:
    """Lay out the seeds and run libFuzzer, whose options may be given."""
    seeds = KEPT / "seeds"
    for directory in (seeds, KEPT / "corpus"):
        directory.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(load_cases()):
        (seeds / f"{number:04}").write_bytes(case.octets[:MOST_OCTETS])
    dictionary = KEPT / "words"
    dictionary.write_text(
        "".join(f'"{word}"\n' for word in WORDS).replace("\\r", "\\x0d").replace("\\n", "\\x0a").replace("\\t", "\\x09")
    )
    options = [f"-max_len={MOST_OCTETS}", f"-dict={dictionary}", f"-artifact_prefix={KEPT}/", "-timeout=10"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(KEPT / "corpus"), str(seeds)], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
