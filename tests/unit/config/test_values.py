"""Single values: strict from TOML, generous from text, and a sentence for everything else."""

import datetime as dt

import pytest

from pyfork.config.catalogue import SETTINGS
from pyfork.config.declarations import LARGEST_LINE
from pyfork.config.values import Raw, expectation, read_value, show
from pyfork.errors import ConfigurationError


def from_toml(name, value):
    return read_value(SETTINGS[name], Raw(value, "server.toml", is_text=False))


def from_text(name, value):
    return read_value(SETTINGS[name], Raw(value, "environment X", is_text=True))


def refusal(read, name, value):
    with pytest.raises(ConfigurationError) as caught:
        read(name, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("workers.count", 4, 4),
        ("workers.timeout", 30, 30.0),
        ("workers.timeout", 0.5, 0.5),
        ("server.reuse_port", True, True),
        ("server.app", "a:b", "a:b"),
        ("server.bind", ["localhost:80", "unix:x"], ("localhost:80", "unix:x")),
        ("server.pythonpath", [], ()),
        ("server.env", {"A": "", "B": "1\n2"}, {"A": "", "B": "1\n2"}),
        ("server.user", 1000, "1000"),
        ("server.user", "www-data", "www-data"),
        ("server.umask", 0o22, 0o22),
        ("server.umask", "0o022", 0o22),
        ("log.level", "WARNING", "warning"),
        ("http.limit_request_line", 0, LARGEST_LINE),
        ("http.limit_request_line", 64, 64),
        ("http.limit_request_body", 0, None),
        ("http.limit_request_body", "unlimited", None),
        ("http.limit_request_body", 1, 1),
        ("workers.refork_after", [500, 2000], (500, 2000)),
        ("workers.refork_after", [500, "..."], (500, "...")),
        ("workers.refork_after", [], ()),
        ("workers.max_memory", "512M", 512 * 2**20),
        ("workers.max_memory", "1GiB", 2**30),
        ("workers.max_memory", 2**21, 2**21),
        ("workers.max_memory", 0, None),
        ("workers.max_memory", "unlimited", None),
        ("workers.memory_measure", "rss", "rss"),
        ("hooks.on_exit", "shop.hooks:ended", "shop.hooks:ended"),
        ("hooks.on_exit", "deploy/hooks.py:Hooks.ended", "deploy/hooks.py:Hooks.ended"),
    ],
)
def test_toml_values_are_taken_as_they_are_typed(name, given, value):
    """TOML has types; only the notations that a setting declares are read beside them."""
    assert from_toml(name, given) == value


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("workers.count", "4", 4),
        ("workers.timeout", "1.5", 1.5),
        ("server.reuse_port", "true", True),
        ("server.reuse_port", "0", False),
        ("server.reuse_port", True, True),
        ("server.bind", "localhost:80, :81,", ("localhost:80", "0.0.0.0:81")),
        ("server.bind", ("localhost:80", ":81"), ("localhost:80", "0.0.0.0:81")),
        ("server.pythonpath", ("a,b", "c"), ("a", "b", "c")),
        ("server.env", "A=1, B=2=3", {"A": "1", "B": "2=3"}),
        ("server.env", ("A=1,2", "B="), {"A": "1,2", "B": ""}),
        ("server.user", "0", "0"),
        ("server.umask", "022", 0o22),
        ("server.umask", "0", 0),
        ("server.umask", "18", 0o22),
        ("server.umask", "0x12", 0o22),
        ("http.limit_request_line", "0", LARGEST_LINE),
        ("http.limit_request_body", "unlimited", None),
        ("http.limit_request_body", "0", None),
        ("http.limit_request_body", "10", 10),
        ("server.proc_name", "null", "null"),
    ],
)
def test_text_is_read_as_the_type_that_is_wanted(name, given, value):
    """Variables and flags know only text; lists have commas, or a flag given several times."""
    assert from_text(name, given) == value


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("workers.count", "4", 'must be a whole number from 1 to 512, not "4" (write it without the quotes)'),
        ("workers.count", "two", 'must be a whole number from 1 to 512, not "two"'),
        ("workers.count", 0, "must be a whole number from 1 to 512, not 0"),
        ("workers.count", 10**30, "must be a whole number from 1 to 512"),
        ("workers.count", True, "must be a whole number from 1 to 512, not true"),
        ("workers.count", 1.5, "not 1.5"),
        ("workers.timeout", float("nan"), "must be a number of seconds from 0 to 2000000, not nan"),
        ("workers.timeout", float("inf"), "not inf"),
        ("workers.timeout", -1, "not -1"),
        ("http.header_timeout", 0, "must be a number of seconds from 0.1 to 2000000, not 0"),
        ("http.limit_request_fields", 40_000, "from 1 to 32768 (0 stands for the highest), not 40000"),
        ("http.limit_request_body", "much", 'must be a number of octets, or "unlimited", not "much"'),
        ("http.limit_request_body", -1, "must be a number of octets"),
        ("server.reuse_port", 1, "must be true or false, not 1"),
        ("server.app", "", 'must be a string, not "" (an empty string is not one; leave the setting out instead)'),
        ("server.app", dt.date(2026, 1, 2), "must be a string, not 2026-01-02"),
        ("server.pidfile", "a\nb", 'not "a\\nb" (it contains a control character)'),
        ("server.bind", "127.0.0.1:80", '(write bind = ["127.0.0.1:80"])'),
        ("server.bind", [], "must be an array of strings, not an array (it is empty)"),
        ("server.bind", ["a", 1], "must be an array of strings, not an array (1 is not a string)"),
        ("server.pythonpath", [""], "an empty string is not one"),
        ("server.env", {"A": 1}, "must be a table of strings, not a table (A is 1)"),
        ("server.env", {"A=B": "1"}, "the name of a variable contains '='"),
        ("server.env", {"A": "\0"}, "a value contains NUL"),
        ("server.env", "A=1", 'must be a table of strings, not "A=1"'),
        ("server.user", -1, "must be a name, or a number from 0 on, not -1"),
        ("server.user", True, "not true"),
        ("server.umask", 0o1000, "must be a mask of file modes from 0 to 0o777, as in 0o027, not 512"),
        ("server.umask", "0o999", 'not "0o999"'),
        ("log.level", "loud", 'must be one of debug, info, warning, error, critical, not "loud"'),
    ],
)
def test_a_wrong_toml_value_is_named_with_what_it_must_be(name, given, message):
    """The sentence has the file, the setting, the expectation, the value, and the way out where it is plain."""
    found = refusal(from_toml, name, given)
    assert found.startswith(f"server.toml: {name} must be ")
    assert message in found


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("workers.count", "two", 'must be a whole number from 1 to 512, not "two"'),
        ("workers.count", "", 'not ""'),
        ("server.reuse_port", "maybe", "must be true or false"),
        ("server.bind", ",", "must be one or more values, separated by commas"),
        ("server.env", "A", 'must be KEY=VALUE, not "A"'),
        ("server.env", ("=1",), 'must be KEY=VALUE, not "=1"'),
        ("server.app", "\udcff", 'not "\\\\udcff" (it is not UTF-8)'),
    ],
)
def test_a_wrong_text_is_named_with_what_it_must_be(name, given, message):
    """Text has no types to speak of, so the expectation is worded for text."""
    assert message in refusal(from_text, name, given)


def test_every_wrong_address_is_a_problem_of_its_own():
    """Two wrong binds are two problems."""
    with pytest.raises(ConfigurationError) as caught:
        from_toml("server.bind", ["8000", "ok:1", "x:y"])
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("server.toml: server.bind '8000': this is a port without a host")


def test_every_wrong_peer_is_a_problem_of_its_own():
    """By commas or in an array; the right ones become canonical."""
    assert from_text("proxy.trusted", "10.0.0.1/32, unix:") == ("10.0.0.1", "unix:")
    assert from_text("proxy.trusted", ("10.0.0.1,::1", "unix:")) == ("10.0.0.1", "::1", "unix:")
    with pytest.raises(ConfigurationError) as caught:
        from_toml("proxy.trusted", ["10.0.0.1/8", "*", "localhost"])
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("server.toml: proxy.trusted '10.0.0.1/8': write 10.0.0.0/8 for")


def test_fields_of_proxies_are_known():
    """Each wrong one is a problem; an empty list is right."""
    assert from_text("proxy.headers", "X-Forwarded-For, x-forwarded-host") == ("x-forwarded-for", "x-forwarded-host")
    assert from_toml("proxy.headers", []) == ()
    with pytest.raises(ConfigurationError) as caught:
        from_toml("proxy.headers", ["x-real-ip", "forwarded", "for"])
    assert [problem.partition(" it is none of")[0] for problem in caught.value.problems] == [
        "server.toml: proxy.headers 'x-real-ip':",
        "server.toml: proxy.headers 'for':",
    ]


def test_values_are_shown_on_one_short_line():
    """A message never carries octets that a terminal would obey, nor a page of them."""
    assert show("\x1b[31m") == '"\\u001b[31m"'
    assert show("x" * 1000) == '"' + "x" * 60 + '..."'
    assert len(show(10**100)) < 70
    assert (show(True), show({}), show([1]), show(("a", "b"))) == ("true", "a table", "an array", '"a", "b"')


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_there_is_an_expectation_for_every_setting(setting):
    """It completes "must be", for text as for TOML."""
    assert expectation(setting, is_text=True)
    assert expectation(setting, is_text=False)


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("workers.refork_after", ["..."], "has nothing to repeat"),
        ("workers.refork_after", [0], "whole numbers from 1 on, the last"),
        ("workers.refork_after", [5, 0], "(0 is none)"),
        ("workers.refork_after", [5.5], "(5.5 is none)"),
        ("workers.refork_after", [True], "(true is none)"),
        ("workers.refork_after", ["5"], '("5" is none)'),
        ("workers.refork_after", ["...", 5], '("..." is not the last)'),
        ("workers.refork_after", 500, "not 500 (write refork_after = [500])"),
        ("workers.refork_after", "500", 'not "500" (write refork_after = [500])'),
        ("workers.refork_after", "often", "whole numbers from 1 on"),
        ("workers.max_memory", "12 apples", "a number of octets from 1M on"),
        ("workers.max_memory", "512", "a number of octets from 1M on"),
        ("workers.memory_measure", "uss", "one of pss, rss"),
        ("hooks.on_exit", "shop.hooks", "a function, as in"),
        ("hooks.on_exit", "shop hooks:ended", "a function, as in"),
        ("hooks.on_exit", "shop.hooks:", "a function, as in"),
        ("hooks.on_exit", 3, "a function, as in"),
    ],
)
def test_the_newer_notations_are_refused_with_what_they_take(name, given, wanted):
    """A count, a size, a choice and a hook each say what they must be."""
    assert wanted in refusal(from_toml, name, given)


def test_counts_are_read_from_text():
    """A variable and a flag have no arrays."""
    assert from_text("workers.refork_after", "500,2000,...") == (500, 2000, "...")
    assert from_text("workers.refork_after", ("500,2000",)) == (500, 2000)
    assert "whole numbers" in refusal(from_text, "workers.refork_after", "500,often")


@pytest.mark.parametrize(("given", "word"), [("required", "required"), (0, "none"), ("1", "optional"), (2, "required")])
def test_gunicorns_numbers_for_certificates_of_clients_are_words_here(given, word):
    """They are those of ssl.VerifyMode."""
    assert from_toml("tls.verify", given) == word
    assert from_text("tls.verify", str(given)) == word


@pytest.mark.parametrize("given", ["sometimes", 3, "3", True, -1])
def test_other_words_for_them_are_refused(given):
    """The message lists the words."""
    assert "one of none, optional, required" in refusal(from_toml, "tls.verify", given)


def test_server_names_are_read_from_every_source():
    """As text NAME=FILES, in TOML as a table too."""
    assert from_text("tls.sni", ("A.example=a.pem", "*.b=b.crt:b.key")) == {"a.example": "a.pem", "*.b": "b.crt:b.key"}
    assert from_toml("tls.sni", {"a": {"certfile": "c", "keyfile": "k"}}) == {"a": "c:k"}
    assert "is no server's name" in refusal(from_toml, "tls.sni", {"a b": "c"})
    assert "a table of server names" in refusal(from_toml, "tls.sni", "a.pem")
    assert "a is 1" in refusal(from_toml, "tls.sni", {"a": 1})
