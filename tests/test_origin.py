"""The client's address: without a proxy, behind trusted proxies, and with forged forwarding headers."""

import asyncio
import time
from ipaddress import ip_network
from pathlib import Path

import pytest
from litestar import Request

from seneca import settings
from seneca.app import create_app
from seneca.http.client_address import address_of, client_address

pytestmark = pytest.mark.no_database  # it asks none

PROXIES = [ip_network(network) for network in ("10.0.0.0/8", "192.0.2.1", "fd00::/8")]


def seen(peer: str, *forwarded: str, proxies: object = PROXIES) -> str:
    """The client's address, given the values of X-Forwarded-For."""
    headers = [(b"host", b"x"), *((b"x-forwarded-for", value.encode("latin-1")) for value in forwarded)]
    return address_of(peer, headers, proxies)


def test_the_peer_is_the_client_where_there_is_no_proxy():
    assert seen("203.0.113.9", proxies=[]) == "203.0.113.9"
    assert seen("203.0.113.9") == "203.0.113.9"


def test_only_the_last_addresses_of_a_long_list_are_read():
    assert seen("10.0.0.1", ", ".join(["198.51.100.7", *["10.0.0.1"] * 10_000])) == "10.0.0.1"
    assert seen("10.0.0.1", ", ".join(["198.51.100.7", *["10.0.0.1"] * 20])) == "198.51.100.7"


@pytest.mark.parametrize("forwarded", ["198.51.100.7", "10.0.0.1", "127.0.0.1", "10.0.0.1, 192.0.2.1", "rubbish"])
def test_what_a_client_says_of_itself_is_ignored(forwarded: str):
    assert seen("203.0.113.9", forwarded) == "203.0.113.9"
    assert seen("10.0.0.1", forwarded, proxies=[]) == "10.0.0.1"


def test_a_trusted_proxy_sets_the_address():
    assert seen("10.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert seen("fd00::1", "203.0.113.9") == "203.0.113.9"


def test_only_what_the_proxy_added_is_believed():
    assert seen("10.0.0.1", "198.51.100.7, 203.0.113.9") == "203.0.113.9"
    assert seen("10.0.0.1", "198.51.100.7", "203.0.113.9") == "203.0.113.9"  # in a header of its own
    assert seen("10.0.0.1", "10.0.0.2, 203.0.113.9") == "203.0.113.9"  # a client that claims to be a proxy


def test_several_proxies_in_a_row():
    assert seen("10.0.0.1", "203.0.113.9, 192.0.2.1") == "203.0.113.9"
    assert seen("10.0.0.1", "198.51.100.7, 203.0.113.9,10.9.9.9 ,  192.0.2.1") == "203.0.113.9"
    assert seen("10.0.0.1", "203.0.113.9", "fd00::2") == "203.0.113.9"


def test_a_request_made_by_a_proxy_has_the_address_of_the_furthest_proxy():
    assert seen("10.0.0.1") == "10.0.0.1"
    assert seen("10.0.0.1", "10.0.0.3, 10.0.0.2") == "10.0.0.3"


@pytest.mark.parametrize(
    "rubbish", ["", " ", "unknown", "_hidden", "1.2.3", "999.1.1.1", "::1::", "1.2.3.4.5", "\xff", ","]
)
def test_an_invalid_address_ends_the_list(rubbish: str):
    assert seen("10.0.0.1", rubbish) == "10.0.0.1"
    assert seen("10.0.0.1", f"198.51.100.7, {rubbish}, 10.0.0.2") == "10.0.0.2"
    assert seen("10.0.0.1", f"{rubbish}, 203.0.113.9") == "203.0.113.9"


def test_a_long_header_costs_little():
    assert seen("10.0.0.1", "1.1.1.1," * 8000 + "203.0.113.9") == "203.0.113.9"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("203.0.113.9:51234", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:ffff::6]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::]", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_addresses_have_one_form(written: str, address: str):
    assert seen("10.0.0.1", written) == address
    assert seen("::ffff:10.0.0.1", written) == address


def test_a_peer_without_an_address():
    assert seen("") == seen("unix:") == ""


def test_the_setting_is_what_counts(tmp_path: Path):
    async def address(proxies: str) -> str:
        test_settings = settings.read({}, data=tmp_path, trusted_proxies=proxies, port=1)
        app = create_app(test_settings, time.monotonic()).app
        scope = {"type": "http", "client": ("10.0.0.1", 5), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}
        return client_address(Request(scope | {"litestar_app": app}))

    assert asyncio.run(address("")) == "10.0.0.1"
    assert asyncio.run(address("10.0.0.2, 10.0.0.1")) == "203.0.113.9"
    assert asyncio.run(address("10.0.0.0/8")) == "203.0.113.9"
