"""The exercise checks accept the reference, reject every mutant for the right reason, and never raise."""

import re

import jaxtyping
import pytest
import torch

from attention_core import checks
from attention_core.checks import check, exercises

MUTANTS = [
    pytest.param(exercise, name, id=f"{exercise.name}: {name}")
    for exercise in exercises().values()
    for name in exercise.mutants
]
each_exercise = pytest.mark.parametrize("exercise", exercises().values(), ids=exercises().keys())


@each_exercise
def test_the_reference_passes(exercise, capsys):
    result = check(exercise.name, exercise.reference)
    assert result
    assert result.status == "passed"
    assert "passed on" in capsys.readouterr().out


@each_exercise
def test_an_unwritten_function_is_not_started_and_not_failed(exercise):
    result = check(exercise.name, lambda *arguments: None)
    assert result.status == "not started"
    assert not result


@each_exercise
def test_there_are_at_least_three_mutants(exercise):
    assert len(exercise.mutants) >= 3


@pytest.mark.parametrize(("exercise", "name"), MUTANTS)
def test_a_mutant_is_rejected_for_the_right_reason(exercise, name):
    mutant = exercise.mutants[name]
    result = check(exercise.name, mutant.function)
    assert result.status == "failed"
    assert mutant.says in result.message


@each_exercise
def test_no_two_mutants_share_a_diagnosis_that_only_one_can_deserve(exercise):
    messages = [check(exercise.name, mutant.function).message for mutant in exercise.mutants.values()]
    assert len(set(messages)) == len(messages)


@each_exercise
def test_inputs_are_the_same_on_every_call_and_in_fresh_memory(exercise):
    for first, second in zip(exercise.inputs(), exercise.inputs(), strict=True):
        for name, value in first.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, second[name])
                assert value.data_ptr() != second[name].data_ptr()
            else:
                assert value == second[name]


def test_a_function_that_raises_is_reported_with_its_input_and_error():
    result = check("context-vector", lambda weights, states: 1 / 0)
    assert "raised ZeroDivisionError" in result.message
    assert "weights = [0.11, 0.01, 0.88]" in result.message


def test_a_list_is_told_how_to_become_a_tensor():
    message = check("context-vector", lambda weights, states: (weights @ states).tolist()).message
    assert "got list" in message
    assert "torch.tensor(" in message


def test_a_sparse_answer_is_told_how_to_become_dense():
    message = check("context-vector", lambda weights, states: (weights @ states).to_sparse()).message
    assert "got cpu, sparse_coo" in message
    assert ".to_dense()" in message


def test_an_answer_in_single_precision_is_told_its_dtype():
    message = check("context-vector", lambda weights, states: (weights @ states).float()).message
    assert "float32; expected torch.float64" in message


def test_right_numbers_of_the_wrong_type_do_not_pass():
    links = exercises()["relative-links"].reference
    result = check("relative-links", lambda weights, share: links(weights, share).long())
    assert not result
    assert "int64; expected torch.bool" in result.message


def test_a_wrong_shape_is_told_both_shapes():
    message = check("context-vector", lambda weights, states: (weights @ states)[None]).message
    assert "shape (1, 2); expected (2,)" in message


def test_a_path_without_return_is_not_called_unstarted():
    message = check("context-vector", lambda w, states: w @ states if len(w) == 3 else None).message
    assert "does every path return?" in message


def test_nan_is_counted_and_its_cause_guessed():
    def divide_by_zero(scores, mask):
        exponentials = scores.exp() * mask
        return exponentials / exponentials.sum(-1, keepdim=True)

    message = check("masked-weights", divide_by_zero).message
    assert "NaN in 33 % of entries: are you dividing by a row sum that is 0?" in message


def test_a_first_row_of_nan_is_traced_to_its_mask():
    def sees_only_what_came_before(x, w_query, w_key, w_value):
        row_scores = (x @ w_query) @ (x @ w_key).mT / w_query.shape[-1] ** 0.5
        before = torch.ones_like(row_scores, dtype=torch.bool).tril(-1)
        return torch.softmax(row_scores.masked_fill(~before, -torch.inf), -1) @ (x @ w_value)

    message = check("causal-self-attention", sees_only_what_came_before).message
    assert "NaN in 50 % of entries: only the first row is bad" in message
    assert "did a mask leave it nothing to attend to?" in message


def test_minus_infinity_taken_from_itself_is_suspected_where_an_input_holds_it():
    def unguarded(scores, values):
        largest, total, average = scores[0], 0.0, 0.0
        for s, v in zip(scores, values, strict=True):
            larger = torch.maximum(largest, s)
            total = total * (largest - larger).exp() + (s - larger).exp()
            average = average * (largest - larger).exp() + (s - larger).exp() * v
            largest = larger
        return average / total

    message = check("online-softmax", unguarded).message
    assert "NaN in 100 % of entries: an input holds -inf: is -inf subtracted from itself?" in message
    assert "Input: scores = [-inf, -inf, " in message


def test_one_pass_that_skips_what_is_masked_passes():
    def skips(scores, values):
        seen = scores > -torch.inf
        return torch.softmax(scores[seen], -1) @ values[seen]

    assert check("online-softmax", skips)


def test_tiles_that_are_left_out_where_nothing_is_seen_pass_too():
    def early(query, key, value, tile):
        n, m = len(query), len(key)
        rows = []
        for i in torch.arange(n).split(tile):
            end = int(i[-1]) + m - n + 1  # no key from here on is seen
            scores = query[i] @ key[:end].mT / query.shape[1] ** 0.5
            hidden = torch.arange(end) > i[:, None] + m - n
            rows.append(torch.softmax(scores.masked_fill(hidden, -torch.inf), -1) @ value[:end])
        return torch.cat(rows)

    assert check("causal-tiles", early)


def test_a_mask_of_numbers_is_told_to_be_boolean():
    message = check("causal-mask", lambda n, m: torch.ones(n, m).tril(m - n)).message
    assert "dtype torch.float32; expected torch.bool" in message


def test_weights_that_sum_along_columns_are_told_the_axis_even_when_no_mutant_matches():
    def wrong_axis_at_twice_the_score(scores, mask):
        return torch.softmax(2 * scores, 0)

    message = check("masked-weights", wrong_axis_at_twice_the_score).message
    assert "rows do not sum to 1 but columns do" in message


def test_negative_weights_are_named():
    message = check("masked-weights", lambda scores, mask: torch.full_like(scores, -1.0)).message
    assert "weights cannot be negative" in message


def test_any_other_error_is_located():
    def two_entries_swapped(scores, mask):
        weights = exercises()["masked-weights"].reference(scores, mask)
        weights[0, 0], weights[0, 1] = weights[0, 1].clone(), weights[0, 0].clone()
        return weights

    message = check("masked-weights", two_entries_swapped).message
    assert re.search(r"largest error, 0\.\d+, is at \[0, \d\]: yours 0\.\d+, expected 0\.", message)


def test_an_answer_that_carries_a_gradient_passes():
    assert check("context-vector", lambda weights, states: weights @ states.clone().requires_grad_())


def test_a_right_answer_that_changed_its_input_fails():
    def right_but_rude(weights, states):
        answer = weights @ states
        states.zero_()
        return answer

    result = check("context-vector", right_but_rude)
    assert not result
    assert "`states` was modified in place" in result.message


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no exercise is called 'maksed-weights'.*masked-weights"):
        check("maksed-weights", len)


def test_a_called_function_is_told_to_come_uncalled():
    jaxtyping.config.update("jaxtyping_disable", True)  # our own message, not the type checker's
    try:
        with pytest.raises(TypeError, match="Did you call it"):
            check("context-vector", torch.zeros(2))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_two_exercises_with_one_name_are_refused(monkeypatch):
    from attention_core.checks import alignment_matrix

    twice = (alignment_matrix.CONTEXT, alignment_matrix.CONTEXT)
    monkeypatch.setattr(alignment_matrix, "EXERCISES", twice)
    checks.exercises.cache_clear()
    try:
        with pytest.raises(ValueError, match="two exercises are called 'context-vector'"):
            exercises()
    finally:
        monkeypatch.undo()
        checks.exercises.cache_clear()


def test_the_result_shows_nothing_more_in_a_notebook(capsys):
    result = check("context-vector", lambda weights, states: None)
    printed = capsys.readouterr().out
    result._ipython_display_()
    assert printed.count("not started") == 1
    assert capsys.readouterr().out == ""
