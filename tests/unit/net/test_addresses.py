"""Which addresses are public, with the same result in every Python version."""

from __future__ import annotations

import pytest

from openai_batch.net.addresses import is_public

NOT_PUBLIC = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1 64:ff9b::10.1.2.3
64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1
2001:10::1 2001:20::1 2001:30::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1
fec0::1 feff::1 2606:4700::5efe:a00:1 2606:4700::200:5efe:a00:1 ff02::1 ff0e::1 4000::1
"""
PUBLIC = """
1.1.1.1 8.8.8.8 11.0.0.1 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 198.20.0.1 223.255.255.1
2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450::1 2001:200::1 2003::1 64:ff9b::8.8.8.8
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_not_public(address: str) -> None:
    """Private, shared, reserved and multicast addresses are not public, nor are most that embed an IPv4 address."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public(address: str) -> None:
    """The neighbors of those ranges are public, and so is a NAT64 address of a public IPv4 address."""
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "1.2.3.4.5", "fe80::1%eth0", "[::1]"])
def test_no_address(text: str) -> None:
    """A text that is not a plain address is not public."""
    assert not is_public(text)
