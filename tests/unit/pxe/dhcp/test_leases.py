"""The pool gives each address to one client at a time, and the same client the same address."""

from datetime import timedelta
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from pxe.addresses import MacAddress
from pxe.dhcp.leases import OFFER_TIME, QUARANTINE_TIME, LeaseBook
from pxe.reservation import Lease
from tests.unit.pxe.dhcp.asking import HOUR, NOW, POOL

ADDRESSES = [IPv4Address(int(POOL.first) + number) for number in range(len(POOL))]


def client(number: int) -> MacAddress:
    return MacAddress(b"\x52\x54\x00\x00\x00" + bytes((number,)))


def lease(number: int, address: IPv4Address, expires: timedelta = HOUR) -> Lease:
    return Lease(client(number), address, NOW + expires)


def test_a_client_finds_the_same_address_without_any_record():
    assert LeaseBook(POOL).choose(client(1), None, NOW) == LeaseBook(POOL).choose(
        client(1), None, NOW
    )


def test_clients_begin_at_different_places():
    assert len({LeaseBook(POOL).choose(client(number), None, NOW) for number in range(20)}) > 1


def test_a_held_address_goes_to_nobody_else_until_all_are_held():
    book = LeaseBook(POOL)
    given_away = set()
    for number in range(len(POOL)):
        address = book.choose(client(number), None, NOW)
        assert address is not None
        book.grant(lease(number, address))
        given_away.add(address)
    assert given_away == set(ADDRESSES)
    assert book.choose(client(99), None, NOW) is None


def test_an_expired_address_is_used_again_and_its_old_owner_forgotten():
    book = LeaseBook(POOL, [lease(n, address) for n, address in enumerate(ADDRESSES)])
    later = NOW + HOUR + timedelta(seconds=1)
    address = book.choose(client(99), None, later)
    assert address is not None
    book.grant(Lease(client(99), address, later + HOUR))
    assert book.lease_of(client(ADDRESSES.index(address))) is None


def test_an_address_that_nobody_had_comes_before_an_expired_one():
    expired = [lease(n, address, -HOUR) for n, address in enumerate(ADDRESSES[:-1])]
    assert LeaseBook(POOL, expired).choose(client(99), None, NOW) == ADDRESSES[-1]


def test_a_client_gets_its_own_address_back_after_it_expired():
    book = LeaseBook(POOL, [lease(1, ADDRESSES[2], -HOUR)])
    assert book.choose(client(1), None, NOW) == ADDRESSES[2]


def test_the_wanted_address_is_given_when_it_is_free():
    book = LeaseBook(POOL, [lease(2, ADDRESSES[1])])
    assert book.choose(client(1), ADDRESSES[3], NOW) == ADDRESSES[3]
    assert book.choose(client(1), ADDRESSES[1], NOW) != ADDRESSES[1]
    assert book.choose(client(1), IPv4Address("10.20.0.11"), NOW) in ADDRESSES


def test_an_offer_holds_its_address_for_a_short_time():
    book = LeaseBook(POOL)
    book.offer(lease(1, ADDRESSES[0], OFFER_TIME))
    assert not book.is_free_for(client(2), ADDRESSES[0], NOW)
    assert book.is_free_for(client(2), ADDRESSES[0], NOW + OFFER_TIME)


def test_an_offer_does_not_shorten_the_lease_of_its_client():
    book = LeaseBook(POOL, [lease(1, ADDRESSES[0])])
    book.offer(lease(1, ADDRESSES[0], OFFER_TIME))
    assert not book.is_free_for(client(2), ADDRESSES[0], NOW + OFFER_TIME)


def test_a_lease_of_another_address_replaces_the_first():
    book = LeaseBook(POOL, [lease(1, ADDRESSES[0])])
    assert book.grant(lease(1, ADDRESSES[1])) == lease(1, ADDRESSES[0])
    assert book.is_free_for(client(2), ADDRESSES[0], NOW)


def test_a_lease_is_confirmed_only_from_when_the_store_has_it_until_it_is_granted_anew():
    book = LeaseBook(POOL, [lease(1, POOL.first)])
    assert book.confirmed(client(1)) is None  # it may have been given back to another server
    for time in (HOUR, 2 * HOUR):
        granted = lease(1, POOL.first, time)
        book.grant(granted)
        assert book.confirmed(client(1)) is None
        book.confirm(granted)
        assert book.confirmed(client(1)) == granted


def test_a_released_address_is_free_at_once():
    book = LeaseBook(POOL, [lease(n, address) for n, address in enumerate(ADDRESSES)])
    book.note_full(NOW)
    book.remove(lease(2, ADDRESSES[2]))
    assert book.choose(client(99), None, NOW) == ADDRESSES[2]


def test_a_declined_address_is_left_alone_for_a_while():
    book = LeaseBook(POOL)
    book.quarantine(ADDRESSES[0], NOW + QUARANTINE_TIME)
    assert not book.is_free_for(client(1), ADDRESSES[0], NOW)
    assert book.is_free_for(client(1), ADDRESSES[0], NOW + QUARANTINE_TIME)


def test_excluded_addresses_and_leases_outside_the_pool_do_not_count():
    outside = Lease(client(9), IPv4Address("10.20.0.99"), NOW + HOUR)
    book = LeaseBook(POOL, [outside], excluded=ADDRESSES[:3])
    assert book.choose(client(1), ADDRESSES[0], NOW) == ADDRESSES[3]
    assert book.choose(client(9), None, NOW) == ADDRESSES[3]


steps = st.tuples(
    st.sampled_from(["offer", "grant", "release", "decline", "wait"]), st.integers(0, 7)
)


@given(st.lists(steps, max_size=60))
def test_no_two_clients_ever_hold_one_address(story: list[tuple[str, int]]):
    book, now = LeaseBook(POOL), NOW
    granted: dict[IPv4Address, Lease] = {}
    for verb, number in story:
        who = client(number)
        held = book.lease_of(who)
        match verb:
            case "offer" | "grant":
                address = book.choose(who, None, now)
                if address is None:
                    continue
                assert address in POOL
                before = granted.get(address)
                assert before is None or before.client == who or before.expires <= now
                if verb == "offer":
                    book.offer(Lease(who, address, now + OFFER_TIME))
                else:
                    granted[address] = Lease(who, address, now + HOUR)
                    if other := book.grant(granted[address]):
                        granted.pop(other.address, None)
            case "release" | "decline" if held is not None:
                book.remove(held)
                granted.pop(held.address, None)
                if verb == "decline":
                    book.quarantine(held.address, now + QUARANTINE_TIME)
            case "wait":
                now += timedelta(minutes=10 * number)
