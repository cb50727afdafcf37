"""A check is known by the name of its function."""

import pytest

from oracle.judge.checks import CHECKS, check


def test_a_second_check_of_one_name_is_refused_and_the_first_stays():
    name = next(iter(CHECKS))
    first = CHECKS[name]

    def second(trial):
        """Another one."""
        return iter(())

    second.__name__ = name
    with pytest.raises(ValueError, match=f"two checks are called {name}"):
        check()(second)
    assert CHECKS[name] is first
