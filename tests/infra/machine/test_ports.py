from __future__ import annotations

import os
import socket

import pytest

from infra.contracts.errors import PortTaken
from infra.machine import ports


def test_a_free_port_can_be_listened_on() -> None:
    port = ports.find_free()
    with socket.create_server(("127.0.0.1", port)):
        assert ports.listener(port) is not None
        with pytest.raises(PortTaken) as caught:
            ports.refuse_taken(port)
    assert str(port) in caught.value.fact
    assert f"Process {os.getpid()} " in caught.value.cause
    ports.refuse_taken(port)
    assert ports.listener(port) is None


def test_what_is_no_port_is_said() -> None:
    with pytest.raises(PortTaken, match="70000 is no port") as caught:
        ports.refuse_taken(70_000)
    assert caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen on any")
def test_a_port_of_the_system_is_not_called_taken() -> None:
    with pytest.raises(PortTaken, match="may not listen on port 80"):
        ports.refuse_taken(80)
