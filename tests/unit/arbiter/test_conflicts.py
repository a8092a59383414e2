"""When a reload cannot have an address, is pyfork itself in the way?"""

from pyfork.arbiter.conflicts import Held, explain_own


def test_its_own_address_by_another_name() -> None:
    """Port 0 got a number, and that number was written into the file."""
    held = [Held("127.0.0.1:0", "127.0.0.1", 41234), Held("0.0.0.0:80", "0.0.0.0", 80)]
    why = explain_own("127.0.0.1", 41234, held)
    assert why == ("pyfork itself listens there, as 127.0.0.1:0; leave that in server.bind, or restart pyfork instead")


def test_addresses_that_overlap() -> None:
    """A wildcard has all of them, on either side; that of IPv6 may have IPv4's too."""
    for wanted, host in (("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "::"), ("::", "0.0.0.0")):
        why = explain_own(wanted, 8000, [Held("mine", host, 8000)])
        assert why is not None
        assert f"which listens at {host}, port 8000 (mine)" in why
        assert "only a restart helps" in why


def test_others_addresses() -> None:
    """Another port or another address of this machine has nothing to do with it."""
    held = [Held("127.0.0.1:8000", "127.0.0.1", 8000)]
    assert explain_own("127.0.0.1", 8001, held) is None
    assert explain_own("127.0.0.2", 8000, held) is None
    assert explain_own("0.0.0.0", 8000, []) is None
