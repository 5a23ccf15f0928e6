"""What a peer may take of the room for unknown credentials, and who is one peer."""

import pytest

from services.kit.auth.peers import Expenses, Room, address_of
from services.kit.errors import Overloaded


def filled(room: Room, peer: str) -> int:
    count = 0
    while room.has_place(peer):
        room.take(peer)
        count += 1
    return count


def test_a_peer_gets_half_of_what_others_leave_so_that_there_is_room_for_the_next_one() -> None:
    room = Room(400)
    assert [filled(room, str(peer)) for peer in range(7)] == [200, 100, 50, 25, 13, 6, 3]
    assert room.has_place("another")


def test_all_peers_together_get_no_more_than_there_is_and_what_is_left_is_free_for_any() -> None:
    room = Room(100)
    assert sum(filled(room, str(peer)) for peer in range(1000)) == 100
    for peer in ("0", "1"):
        room.leave(peer)
    assert room.has_place("another")
    assert not room.has_place("0")


def test_a_place_is_left_at_the_end_of_its_block_also_by_an_error() -> None:
    room = Room(2)

    def fail() -> None:
        with room.place("a"):
            assert not room.has_place("a")
            raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            fail()
    room.take("a")
    with pytest.raises(Overloaded), room.place("a"):
        raise AssertionError
    room.leave("a")
    assert not room._taken


def test_what_a_peer_has_caused_is_forgotten_after_its_time_and_is_not_paid_for_twice() -> None:
    now = 0.0
    expenses = Expenses(4, 1.0, lambda: now)
    expenses.add("x", "a")
    expenses.add("x", "b")
    now = 0.5
    expenses.add("y", "a")
    assert (expenses.has_place("a"), expenses.has_place("b")) == (False, True)
    now = 1.0
    assert "x" not in expenses
    assert "y" in expenses
    assert expenses.has_place("a")
    now = 1.5
    assert expenses.has_place("a")
    assert len(expenses) == 0


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:53210", "192.0.2.7"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:53210", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::9]:1", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:192.0.2.7%5D:53210", "192.0.2.7"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::/64"),
        ("unix:", "unix"),
        ("unix:/run/s", "unix"),
        ("ipv4:what", ""),
        ("", ""),
    ],
)
def test_a_peer_is_its_address_without_a_port_and_of_ipv6_the_network_of_a_subscriber(peer: str, address: str) -> None:
    assert address_of(peer) == address
