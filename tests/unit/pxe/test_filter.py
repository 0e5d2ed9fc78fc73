"""Programs for the kernel's packet filter; what they let through is a conformance test."""

from pxe.dhcp.filter import ANY_BIT, BYTE, EQUAL, Check, program


def test_a_check_that_fails_jumps_to_the_end():
    code = program((Check(BYTE, 0, EQUAL, 1), Check(BYTE, 1, ANY_BIT, 2, not_=True)))
    jumps = [tuple(code[at + 2 : at + 4]) for at in range(0, len(code), 8)]
    assert jumps == [(0, 0), (0, 3), (0, 0), (1, 0), (0, 0), (0, 0)]
