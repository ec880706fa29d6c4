"""gateway.randomness"""

from gateway.randomness import Randomness


def test_pieces() -> None:
    """Every piece has the size that was asked for, and none comes twice, over several blocks."""
    randomness = Randomness(8)
    pieces = [randomness.draw() for _ in range(2000)]
    assert {len(piece) for piece in pieces} == {16}
    assert len(set(pieces)) == len(pieces)
