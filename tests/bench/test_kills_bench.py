"""The figures of the kills benchmark, and the relay that counts for it."""

import socket
import threading

from bench.frame.killing import Tally
from bench.frame.relay import Relay
from bench.kills import figures_of


def test_a_broken_copy_and_a_journal_that_is_not_gone_on_from_miss_their_bars() -> None:
    good = Tally(kills=10, copies=2, promised=1000, resumed=900)
    bad = Tally(kills=9, copies=2, broken=1, promised=1000, resumed=899)
    relay = Relay(1)
    relay.bytes, relay.requests = 3000, 40
    figures = {figure.name: figure for figure in figures_of(good, 10, relay, 1000)}
    assert all(figure.holds for figure in figures.values())
    assert figures["bytes moved over bytes of the copies"].value == 1.5
    assert figures["requests for each copy"].value == 20
    missed = [figure.name for figure in figures_of(bad, 10, relay, 1000) if not figure.holds]
    assert missed == ["kills", "broken copies", "resumed of that"]
    relay.close()


def test_the_relay_passes_everything_on_and_counts_what_comes_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            link, _ = server.accept()
            with link:
                assert link.recv(100) == b"GET / HTTP/1.1\r\n\r\n"
                link.sendall(b"x" * 1000)

        thread = threading.Thread(target=answer)
        thread.start()
        with Relay(server.getsockname()[1]) as relay:
            with socket.create_connection(("127.0.0.1", relay.port)) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                received = b""
                while data := client.recv(4096):
                    received += data
            assert received == b"x" * 1000
            assert relay.wait_for(1000, 10)
            assert (relay.bytes, relay.requests) == (1000, 1)
            assert not relay.wait_for(1001, 0)
        thread.join()
