"""The suite rejects every sabotaged backend, by the property that its fault is about."""

from __future__ import annotations

import pytest

from tinygrad_rnn.testing.conformance import PROPERTIES, SABOTAGED, Subject, score

#: sabotage -> the property that finds it
FOUND_BY = {
    "says_that_it_is_missing": "F4",
    "has_no_erf": "F4",
    "refuses_nothing": "F15",
    "takes_what_it_does_not_claim": "F7",
    "put_keeps_the_array": "F7",
    "holds_single_precision": "F7",
    "get_adds_zero": "F7",
    "empty_is_double": "F7",
    "sums_into_used_memory": "O6",
    "one_scratch_for_all": "F9",
    "buffers_in_cycles": "F10",
    "keeps_every_result": "F11",
    "keeps_a_list": "F11",
    "tanh_is_off_in_float32": "F2",
    "float64_in_float32": "F2",
    "narrow_argmax": "B14",
    "scalars_with_an_axis": "B14",
    "sum_without_the_last": "B2",
    "tail_of_the_vector": "B2",
    "reshape_in_memory_order": "B3",
    "backwards_is_forwards": "B3",
    "neg_in_place": "B4",
    "adding_zero_is_free": "B5",
    "cast_to_the_same": "B5",
    "max_over_no_axes": "B10",
    "maximum_swallows_nan": "C9",
    "nearly_equal": "C9",
    "halves_go_up": "C9",
    "unstable_sigmoid": "C9",
    "zero_minus_x": "C11",
    "flushed_to_zero": "C11",
    "argmax_takes_the_last": "B11",
    "where_by_arithmetic": "B12",
    "zero_does_not_win": "B12",
    "zero_over_zero": "A2",
    "division_towards_zero": "C10",
    "division_by_zero_raises": "C10",
    "integers_saturate": "C10",
    "half_summed_in_half": "C7",
    "long_sums_in_half": "C8",
    "duplicates_are_lost": "B7",
    "indices_wrap_around": "F15",
    "other_random_bits": "F6",
    "seeds_the_global_generator": "F14",
    "warns_of_infinity": "F18",
    "sums_in_any_order": "F5",
    "never_reversed": "D4",
    "one_step_late": "D1",
    "no_steps_give_zeros": "D2",
    "carries_one_after_another": "D1",
    "forgets_the_first_carry": "D3",
    "draws_once": "D5",
    "tired_counters": "D6",
    "masks_by_arithmetic": "D14",
    "loops_in_half": "A28",
    "forgets_constants": "F3",
    "forgets_dtypes": "F3",
    "forgets_shapes": "F3",
    "forgets_what_is_returned": "F3",
    "forgets_attributes": "F3",
    "remembers_its_first_inputs": "F1",
    "results_are_overwritten": "B5",
    "writes_over_views": "B5",
    "ignores_out": "D1",
    "single_precision_programs": "A26",
    "recursive": "F13",
    "busy_after_an_error": "F12",
}


def test_the_table_is_complete():
    assert FOUND_BY.keys() == SABOTAGED.keys() and len(FOUND_BY) >= 25
    assert {name: s.property for name, s in SABOTAGED.items()} == FOUND_BY
    assert all(s.about.endswith(".") and s.property in PROPERTIES for s in SABOTAGED.values())


@pytest.mark.parametrize("name", SABOTAGED)
def test_a_sabotaged_backend_is_rejected(name):
    card = score(Subject(SABOTAGED[name].make()), properties=[FOUND_BY[name]], stop=True)
    assert not card.passed, f"nothing found: {SABOTAGED[name].about}"
    assert card.failures[0].check.property == FOUND_BY[name]
