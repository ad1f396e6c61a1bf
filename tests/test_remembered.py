"""What is remembered, so that it need not be made again, takes only so much memory."""

from sprocket_factory.entities.remembered import Remembered


def test_what_was_made_is_not_made_again_and_only_so_much_is_kept() -> None:
    """With one more than may be kept, what came before it is forgotten, and made again where it is asked for."""
    made: list[int] = []

    def double(number: int) -> int:
        made.append(number)
        return 2 * number

    remembered = Remembered(double, 2)

    assert [2, 4, 2, 6, 2] == [remembered[number] for number in (1, 2, 1, 3, 1)]
    assert [1, 2, 3, 1] == made
    assert 2 == len(remembered)
