"""The lists of faults fit the code as it is."""

from collections import Counter

import pytest

from tests.mutants.mutant import ROOT, Mutant, all_mutants

MUTANTS = all_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_fault_can_be_put_into_its_file(mutant: Mutant) -> None:
    assert mutant.old != mutant.new
    compile(mutant.source(), mutant.file, "exec")
    assert mutant.tests
    assert not [test for test in mutant.tests if not (ROOT / test).exists()]


def test_no_fault_is_listed_twice() -> None:
    assert len(MUTANTS) >= 100
    assert max(Counter((mutant.file, mutant.old, mutant.new) for mutant in MUTANTS).values()) == 1
