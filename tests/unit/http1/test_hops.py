"""What proxies write down of clients: what is read, and that garbage is garbage."""

from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyfork.http1.hops import (
    LONGEST_ELEMENT,
    MOST_COMMAS,
    MOST_ELEMENTS,
    elements_from_right,
    forwarded_from_right,
    last_element,
    read_host,
    read_node,
    read_port,
    read_prefix,
    split_port,
)

OCTETS = st.text(st.characters(max_codepoint=255), max_size=60)
"""Values, as text an octet a character."""
TOKENS = st.text("abz09-_.!", min_size=1, max_size=6)
QUOTED = st.text(st.sampled_from('a1,;=" \\\t:[]\xe9'), max_size=12)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", ""),
        ("192.0.2.1:8080", "192.0.2.1", "8080"),
        ("192.0.2.1:_hidden", "192.0.2.1", ""),
        ("2001:DB8::1", "2001:db8::1", ""),
        ("[2001:db8::1]", "2001:db8::1", ""),
        ("[2001:db8:0::1]:4711", "2001:db8::1", "4711"),
        ("[2001:db8::1]:_p.q-r", "2001:db8::1", ""),
        ("::ffff:192.0.2.1", "192.0.2.1", ""),
        ("[::FFFF:192.0.2.1]:1", "192.0.2.1", "1"),
    ],
)
def test_a_node_is_an_address_with_or_without_a_port(text, address, port):
    """RFC 7239, section 6; bare addresses are X-Forwarded-For's. The address is canonical, in every Python."""
    assert read_node(text) == (address, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "_hidden",
        "example.org",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:123456",
        "192.0.2.1:80:80",
        "192.0.2.1 ",
        '"192.0.2.1"',
        "[192.0.2.1]",
        "2001:db8::1]",
        "[2001:db8::1",
        "[::1]80",
        "[::1]:",
        "::1%eth0",
        "fe80::1%<script>",
        ":::",
        "192.0.2.\xb2",
        "1" * 50,
    ],
)
def test_anything_else_tells_no_address(text):
    """Nor do obfuscated names, which mean to tell none."""
    assert read_node(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.org:8443", "example.org:8443"),
        ("[::1]", "[::1]"),
        ("", None),
        (":1", None),
        ("a b", None),
        ("a/b", None),
    ],
)
def test_a_host_is_what_the_host_field_may_have(text, expected):
    """But not empty; a list or a path is none."""
    assert read_host(text) == expected
    assert read_host("caf\xe9.example") is None


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("a:1", "a", "1"),
        ("a", "a", ""),
        ("a:", "a", ""),
        ("[::1]", "[::1]", ""),
        ("[::1]:2", "[::1]", "2"),
        ("", "", ""),
    ],
)
def test_a_host_has_a_name_and_perhaps_a_port(host, name, port):
    """The colons of an address are its own."""
    assert split_port(host) == (name, port)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("443", "443"),
        ("00443", "443"),
        ("65535", "65535"),
        ("65536", None),
        ("0", None),
        ("", None),
        ("-1", None),
        ("+80", None),
        ("8_0", None),
        ("80 ", None),
        ("\xb2", None),
        ("000080", None),
    ],
)
def test_a_port_is_a_number(text, expected):
    """From 1 to 65535."""
    assert read_port(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/shop", "/shop"),
        ("/shop/", "/shop"),
        ("/a/b;c=d", "/a/b;c=d"),
        ("/caf%C3%A9", "/caf\xc3\xa9"),
        ("/", ""),
        ("", None),
        ("shop", None),
        ("//evil.example", None),
        ("/a//b", None),
        ("/%2Fevil.example", None),
        ("/%5Cevil.example", None),
        ("/\\evil.example", None),
        ("http://evil.example/", None),
        ("/a/../b", None),
        ("/a/%2E%2e", None),
        ("/a/.", None),
        ("/a?b", None),
        ("/a#b", None),
        ("/a b", None),
        ("/a%0D%0ASet-Cookie:b", None),
        ("/a%0", None),
        ("/caf\xe9", None),
    ],
)
def test_a_prefix_is_a_path_that_leads_nowhere_else(text, expected):
    """Links begin with it: two slashes, or what browsers take for them, would lead to another host."""
    assert read_prefix(text) == expected


def test_a_list_is_read_from_the_right():
    """Empty elements do not count (RFC 9110, section 5.6.1), space around elements neither."""
    value = ",a , \t,b,\tc ,"
    assert [(value[begin:].split(",", maxsplit=1)[0].strip(), text) for begin, text in elements_from_right(value)] == [
        ("c", "c"),
        ("b", "b"),
        ("a", "a"),
    ]
    assert last_element(value).text == "c"
    assert last_element("") is last_element(" , ,") is None


def read_all(value):
    return [parameters for _, parameters in forwarded_from_right(value)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('for="_gazonk"', [{"for": "_gazonk"}]),
        ('For="[2001:db8:cafe::17]:4711"', [{"for": "[2001:db8:cafe::17]:4711"}]),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", [{"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}]),
        ("for=192.0.2.43, for=198.51.100.17", [{"for": "198.51.100.17"}, {"for": "192.0.2.43"}]),
        ("for=a ;\tproto=b; ;host=c;", [{"for": "a", "proto": "b", "host": "c"}]),
        ('for=a;secret="b,for=c", ,for=d,', [{"for": "d"}, {"for": "a", "secret": "b,for=c"}]),
        (r'a="\"\\",b="c\d"', [{"b": "cd"}, {"a": '"\\'}]),
        ('for=""', [{"for": ""}]),
        ("", []),
        (" , ;,", []),
    ],
)
def test_elements_are_read_from_the_right(value, expected):
    """The examples of RFC 7239, section 4, and what its grammar has besides; names are in lower case."""
    assert read_all(value) == expected


@pytest.mark.parametrize(
    "garbage",
    [
        'for="192.0.2.1',
        'for="192.0.2.1\\',
        "for=192.0.2.1:80",
        "for=[::1]",
        "for = a",
        "for",
        "for=",
        "=a",
        "for=a b=c",
        'for=a"b"',
        "for=a;for=b",
        "for=a;FOR=a",
        "for=\xe9",
        'for="\x7f"',
        f"for={'a' * LONGEST_ELEMENT}",
        f'for="{"," * (MOST_COMMAS + 1)}"',
    ],
)
def test_garbage_ends_the_reading_and_hides_nothing_to_its_right(garbage):
    """A client can begin a quoted string and not end it: what its proxies add is read nevertheless."""
    assert read_all(garbage) == []
    assert read_all(f"for=z,{garbage}") == []
    added = 'for="[2001:db8::1]:80";host="a,b"'
    assert read_all(f"{garbage}, {added}") == [{"for": "[2001:db8::1]:80", "host": "a,b"}]
    assert read_all(f"{garbage},{added},for=y")[0] == {"for": "y"}


def test_as_many_commas_as_an_element_may_have_are_read():
    """A host in quotes has none, so the bound is generous."""
    value = f'for="{"," * MOST_COMMAS}"'
    assert read_all(f'for=a,for="b,{value}') == [{"for": "," * MOST_COMMAS}]


@given(OCTETS, st.dictionaries(TOKENS.map(str.lower), QUOTED, min_size=1, max_size=4))
@example('for="', {"host": 'a,b="'})
def test_what_a_proxy_adds_is_read_whatever_stands_left_of_it(left, parameters):
    """It quotes what it adds, as RFC 7239 has it; then no client can change what that means."""
    added = ";".join(
        '{}="{}"'.format(name, text.replace("\\", r"\\").replace('"', r"\"")) for name, text in parameters.items()
    )
    begin, read = next(forwarded_from_right(f"{left},{added}"))
    assert (begin, read) == (len(left) + 1, parameters)


@given(st.lists(st.sampled_from(["192.0.2.1", "::1", "unknown", " ", "", '"', "\xe9", "a:b"])), OCTETS)
def test_nothing_raises(elements, text):
    """And each element is where it is said to begin."""
    value = ",".join(elements)
    read = list(elements_from_right(value))
    assert [element.text for element in reversed(read)] == [each.strip() for each in elements if each.strip()]
    for begin, element in read:
        assert value[begin:].lstrip().startswith(element)
    for value in (text, f"for={text}"):
        for begin, _ in forwarded_from_right(value):
            assert begin == 0 or value[begin - 1] == ","
    assert read_host(text) in {None, text}
    assert read_port(text) in {None, text.lstrip("0")}
    prefix = read_prefix(text)
    assert prefix is None or prefix == "" or (prefix[0] == "/" and prefix[1] not in "/\\")
    node = read_node(text)
    assert node is None or ip_address(node.address)


def test_long_lists_are_not_read_to_their_end():
    """A client could have the server look at commas for a second."""
    assert (
        sum(1 for _ in elements_from_right("a," * 5000)) == MOST_ELEMENTS - 1
    )  # behind the last comma is an empty one
    assert sum(1 for _ in forwarded_from_right("a=b," * 5000)) == MOST_ELEMENTS - 1
    assert last_element("a" + "," * MOST_ELEMENTS) is None
    assert read_all("a=b" + "," * MOST_ELEMENTS) == []


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_is_read(address, port):
    """With a port and without."""
    canonical = str(getattr(address, "ipv4_mapped", None) or address)
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert read_node(text) == (canonical, str(port))
    assert read_node(str(address)) == (canonical, "")
