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
