"""What a client asks for and what it gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.tftp.options import Bounds, Parameters, bounds_for, negotiate
from pxe.tftp.wire import ReadRequest

SIZE = 1_000_000


def granted(*options: tuple[str, str]) -> dict[str, str]:
    return dict(negotiate(ReadRequest("a", options=options), SIZE)[1])


@pytest.mark.parametrize(
    ("asked", "granted_value"),
    [
        (("blksize", "1468"), "1468"),
        (("blksize", "8"), "8"),
        (("blksize", "1469"), "1468"),
        (("blksize", "65464"), "1468"),
        (("blksize", "65536"), "1468"),
        (("blksize", "7"), None),
        (("blksize", "0"), None),
        (("blksize", "abc"), None),
        (("blksize", ""), None),
        (("blksize", "-512"), None),
        (("blksize", "+512"), None),
        (("blksize", "5_12"), None),
        (("blksize", "\u0661\u0662"), None),
        (("blksize", "9" * 400), None),
        (("BLKSIZE", "1024"), "1024"),
        (("tsize", "0"), str(SIZE)),
        (("TSize", "0"), str(SIZE)),
        (("tsize", "x"), None),
        (("timeout", "1"), "1"),
        (("timeout", "255"), "255"),
        (("timeout", "0"), None),
        (("timeout", "256"), None),
        (("windowsize", "1"), "1"),
        (("windowsize", "64"), "64"),
        (("windowsize", "65535"), "64"),
        (("windowsize", "65536"), None),
        (("windowsize", "0"), None),
        (("multicast", ""), None),
        (("utimeout", "100000"), None),
        (("rollover", "1"), None),
    ],
)
def test_an_option_is_granted_lowered_or_left_out(
    asked: tuple[str, str], granted_value: str | None
) -> None:
    expected = {} if granted_value is None else {asked[0]: granted_value}
    assert granted(asked) == expected


def test_nothing_is_granted_that_nobody_asked_for() -> None:
    assert negotiate(ReadRequest("a"), SIZE) == (Parameters(512, 1, None), {})


def test_a_bad_option_does_not_spoil_the_good_ones() -> None:
    assert granted(("blksize", "abc"), ("tsize", "0"), ("windowsize", "4")) == {
        "tsize": str(SIZE),
        "windowsize": "4",
    }


def test_a_bad_blksize_leaves_512_octets() -> None:
    parameters, _ = negotiate(ReadRequest("a", options=(("blksize", "abc"),)), SIZE)
    assert parameters.blksize == 512


@pytest.mark.parametrize(
    ("mtu", "limit", "blksize"),
    [(1500, 1468, 1468), (1400, 1468, 1368), (9000, 1468, 1468), (9000, 65464, 8968),
     (65536, 65464, 65464), (10, 1468, 8)],
)  # fmt: skip
def test_a_block_fits_the_path(mtu: int, limit: int, blksize: int) -> None:
    assert bounds_for(Bounds(blksize=limit), mtu).blksize == blksize


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["blksize", "BLKSIZE", "tsize", "timeout", "windowsize", "x"]),
            st.integers(-5, 100_000).map(str) | st.text(max_size=5),
        ),
        max_size=6,
    ),
    st.integers(0, 1 << 33),
)
def test_whatever_is_asked_the_parameters_are_within_bounds(
    options: list[tuple[str, str]], size: int
) -> None:
    parameters, accepted = negotiate(ReadRequest("a", options=tuple(options)), size)
    assert 8 <= parameters.blksize <= 1468
    assert 1 <= parameters.windowsize <= 64
    assert parameters.timeout is None or 1 <= parameters.timeout <= 255
    assert set(accepted) <= {name for name, _ in options}
