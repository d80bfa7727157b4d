"""Training: exact resumption, the guard, interruption, the choice of weights, checkpoints."""

import json
import logging
import math
import signal

import numpy as np
import pyro
import pytest
import torch
from safetensors.torch import load_file, save_file

from pyro_msm.config import TrainingConfig
from pyro_msm.errors import InputError, TrainingDiverged
from pyro_msm.inference import Trainer, load_checkpoint, restore_into, save_checkpoint
from tests.small_fields import model_and_guide, training_windows, travelling_waves

DATA = travelling_waves()
WINDOWS = training_windows(DATA)


def trainer(folder=None, steps=12, validate=None, seed=0, **settings):
    usual = {
        "windows": 2, "window_length": 6, "ramp_steps": 5, "validate_every": 4,
        "checkpoint_every": 3, "log_every": 2, "quadrature": 2,
    }  # fmt: skip
    return Trainer(
        *model_and_guide(DATA), WINDOWS, TrainingConfig(steps=steps, **(usual | settings)),
        validate=validate, seed=seed, folder=folder, header={"name": "tiny"},
    )  # fmt: skip


def weights(trained):
    return [p.detach().clone() for p in trained.loss.parameters()]


def assert_same(one, other):
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0)


class Validation:
    """Errors from a list, in order; remembers the weights that it scored."""

    def __init__(self, *errors):
        self.errors, self.seen, self.trained = iter(errors), [], None

    def __call__(self):
        self.seen.append(weights(self.trained))
        return next(self.errors)


# --- resumption ----------------------------------------------------------------------------------


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("cut", [5, 8])
def test_steps_and_a_resumption_are_the_steps_of_one_run_bit_for_bit(tmp_path, cut, validated):
    """Wherever the first run ended, also where its end validates once more."""
    errors = {4: 0.5, 5: 0.1, 8: 0.3, 12: 0.4}

    def run(folder, steps, resume=False):
        made = trainer(folder, steps)
        if validated:
            made.validate = lambda: errors[made.state.step]
        made.run(resume)
        return made

    whole = run(tmp_path / "whole", 12)
    run(tmp_path / "parts", cut)
    resumed = run(tmp_path / "parts", 12, resume=True)
    assert resumed.state.step == 12
    assert_same(whole, resumed)
    for name in ("last", "best"):
        files = [load_file(tmp_path / part / f"{name}.safetensors") for part in ("whole", "parts")]
        assert files[0].keys() == files[1].keys()
        for key in files[0]:
            assert torch.equal(files[0][key], files[1][key]), key
    assert resumed.state.best_error == whole.state.best_error == (0.3 if validated else None)
    assert resumed.state.best_step == whole.state.best_step


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    first = trainer(tmp_path)
    first.run()
    again = trainer(tmp_path)
    again.run(resume=True)
    assert_same(first, again)


def test_same_seed_same_weights_and_another_seed_others():
    one, same, other = (trainer(seed=seed) for seed in (3, 3, 4))
    for each in (one, same, other):
        each.run()
    assert_same(one, same)
    assert any((a != b).any() for a, b in zip(weights(one), weights(other), strict=True))


def test_training_touches_no_global_state():
    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    made = trainer()
    before = torch.get_rng_state()
    made.run()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not list(pyro.get_param_store().keys())
    assert pyro.settings.get("module_local_params") is False


def test_two_trainers_in_one_process_share_nothing():
    one, other = trainer(), trainer()
    other.settings = other.settings.model_copy(update={"learning_rate": 1e-4})
    one.run()
    before = weights(one)
    other.run()
    torch.testing.assert_close(weights(one), before, rtol=0, atol=0)


def test_loss_falls():
    made = trainer(steps=60, log_every=10, learning_rate=5e-3, ramp_steps=0)
    made.run()
    losses = [record["loss"] for record in made.history if "loss" in record]
    assert len(losses) == 6
    assert losses[-1] < losses[0]


# --- guard and interruption ----------------------------------------------------------------------


class Failing:
    """A loss that is NaN at some calls."""

    def __init__(self, made, calls):
        self.inner, self.calls, self.count = made.loss, calls, 0
        self.state_dict, self.parameters = self.inner.state_dict, self.inner.parameters

    def __call__(self, batch):
        self.count += 1
        loss = self.inner(batch)
        return loss * math.nan if self.count in self.calls else loss


def test_a_nan_loss_takes_training_back_with_half_the_step(caplog):
    made = trainer(steps=9)
    made.loss = Failing(made, {6})
    states = {}
    made.progress = lambda step, steps, note: states.setdefault(step, made.state.copy())
    with caplog.at_level(logging.WARNING):
        made.run()
    assert "diverged at step 5: back to step 3 with the step size times 0.5" in caplog.text
    (record,) = [r for r in made.history if "recovered_from" in r]
    assert (record["step"], record["recovered_from"], record["slowdown"]) == (3, 5, 0.5)
    assert made.state.step == 9
    assert made.state.slowdown == 0.5
    rate = made.settings.learning_rate * made.settings.decay ** (9 / 1000) * 0.5
    assert made.state.learning_rate() == pytest.approx(rate)
    assert all(torch.isfinite(w).all() for w in weights(made))


def test_going_back_restores_weights_and_moments_exactly():
    made = trainer()
    made._keep()
    kept = made.state.copy()
    with pyro.settings.context(module_local_params=True):
        for _ in range(2):
            assert made.state.update(made.loss(made.batch()))
        assert made.state.tensors().keys() > kept[0].keys()
        made._recover()
    tensors = made.state.tensors()
    assert tensors.keys() == kept[0].keys()
    for name, tensor in kept[0].items():
        assert torch.equal(tensors[name], tensor), name


def test_going_back_keeps_the_best_weights_and_their_error():
    """What was found after the checkpoint is not beaten by something worse."""
    validate = Validation(3.0, 1.0, 2.0, 2.5, 2.6, 2.7)
    made = trainer(steps=9, validate=validate, validate_every=2, checkpoint_every=3)
    validate.trained = made
    made.loss = Failing(made, {6})  # after the validation of step 4, before the next checkpoint
    made.run()
    assert [r["recovered_from"] for r in made.history if "recovered_from" in r] == [5]
    assert (made.state.best_error, made.state.best_step) == (1.0, 4)
    for kept, chosen in zip(weights(made), validate.seen[1], strict=True):
        assert torch.equal(kept, chosen)


def test_a_step_with_infinite_gradient_changes_nothing():
    made = trainer()
    before = weights(made)
    parameter = next(iter(made.loss.parameters()))
    assert not made.state.update((parameter.sum() - parameter.detach().sum()).abs().sqrt())
    torch.testing.assert_close(weights(made), before, rtol=0, atol=0)
    assert made.state.step == 0


def test_training_that_cannot_recover_says_what_to_do(tmp_path):
    made = trainer(tmp_path)
    made.loss = Failing(made, set(range(5, 100)))
    told = r"9 times, last at step \d+.*learning_rate.*std_floor"
    with pytest.raises(TrainingDiverged, match=told):
        made.run()
    tensors, header = load_checkpoint(tmp_path / "last.safetensors", "training")
    assert header["counters"]["step"] == 3
    assert all(torch.isfinite(t).all() for t in tensors.values())


class Pressing(Failing):
    """Presses Ctrl-C in the middle of a step."""

    def __init__(self, made, step, times=1):
        super().__init__(made, {step})
        self.times = times

    def __call__(self, batch):
        self.count += 1
        loss = self.inner(batch)
        if self.count in self.calls:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        return loss


def test_a_second_interruption_does_not_wait(tmp_path):
    made = trainer(tmp_path)
    made.loss = Pressing(made, 8, times=2)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    _, header = load_checkpoint(tmp_path / "last.safetensors", "training")
    assert (made.state.step, header["counters"]["step"]) == (7, 6)


def test_interruption_saves_and_is_passed_on(tmp_path):
    """In the middle of a step: the step is done first, and the resumption is exact."""
    whole = trainer()
    whole.run()

    made = trainer(tmp_path)
    made.loss = Pressing(made, 8)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert signal.getsignal(signal.SIGINT) is handler
    _, header = load_checkpoint(tmp_path / "last.safetensors", "training")
    assert header["counters"]["step"] == 8
    resumed = trainer(tmp_path)
    resumed.run(resume=True)
    assert_same(whole, resumed)


def test_a_budget_stops_training(caplog):
    made = trainer(steps=10_000, budget_seconds=0.05)
    with caplog.at_level(logging.INFO, "pyro_msm"):
        made.run()
    assert 0 < made.state.step < 1000
    assert "budget of 0.05s is spent" in caplog.text


# --- the choice of weights -----------------------------------------------------------------------


def test_the_average_with_the_best_validation_is_kept(tmp_path):
    validation = Validation(0.5, 0.2, math.nan, 0.3)
    made = trainer(tmp_path, steps=14, validate=validation)
    validation.trained = made
    made.run()
    assert (made.state.best_error, made.state.best_step) == (0.2, 8)
    torch.testing.assert_close(weights(made), validation.seen[1], rtol=0, atol=0)
    # The average, not the weights themselves.
    last = load_file(tmp_path / "last.safetensors")
    name = made.state.names[0]
    assert not torch.equal(last[f"average/{name}"], last[f"weights/{name}"])
    tensors, header = load_checkpoint(tmp_path / "best.safetensors", "model")
    assert (header["name"], header["step"], header["validation_error"]) == ("tiny", 8, 0.2)
    restore_into(torch.nn.ModuleDict({"model": made.model, "guide": made.guide}), tensors, tmp_path)
    errors = [r["validation_error"] for r in made.history if "validation_error" in r]
    assert errors == [0.5, 0.2, None, 0.3]


def test_the_weights_to_begin_with_may_be_a_candidate(tmp_path):
    made = trainer(tmp_path, validate=Validation(0.1, 0.5, 0.2, 0.3))
    made.untrained, made.validate.trained = True, made
    before = weights(made)
    made.run()
    assert (made.state.best_error, made.state.best_step) == (0.1, 0)
    torch.testing.assert_close(weights(made), before, rtol=0, atol=0)


def test_patience_ends_a_training_that_no_longer_improves():
    made = trainer(steps=100, patience=2, validate=Validation(0.5, 0.3, 0.4, 0.35, 0.2))
    made.validate.trained = made
    made.run()
    assert made.state.step == 16
    assert made.state.best_step == 8


def test_without_a_finite_validation_the_last_average_is_kept(caplog):
    made = trainer(validate=lambda: math.inf)
    with caplog.at_level(logging.WARNING):
        made.run()
    assert "no validation rollout stayed finite" in caplog.text
    torch.testing.assert_close(weights(made), made.state.average, rtol=0, atol=0)


def test_the_average_is_an_exponential_one():
    made = trainer(steps=6, ema=0.6)
    history = [weights(made)]
    update = made.state.update

    def remembering(loss, seen):
        done = update(loss, seen)
        history.append([p.detach().clone() for p in made.state.parameters])
        return done

    made.state.update = remembering
    made.run()
    expected = history[0]
    for step, now in enumerate(history[1:], start=1):
        decay = min(0.6, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * n for e, n in zip(expected, now, strict=True)]
    torch.testing.assert_close(made.state.average, expected)


def test_scales_move_faster_and_do_not_decay():
    state = trainer(scale_rate=5.0, weight_decay=0.1).state
    fast = {id(p) for p in state.optimizer.param_groups[1]["params"]}
    named = dict(zip(state.names, state.parameters, strict=True))
    names = {name.rpartition(".")[2] for name, p in named.items() if id(p) in fast}
    assert names == {
        "log_dispersion", "log_macro_var", "log_micro_var", "log_length", "log_nugget", "log_std",
    }  # fmt: skip
    assert [g["weight_decay"] for g in state.optimizer.param_groups] == [0.1, 0.0, 0.0]
    assert all(p.dim() > 1 for p in state.optimizer.param_groups[0]["params"])


# --- checkpoints ---------------------------------------------------------------------------------


def test_nothing_to_resume_from(tmp_path):
    with pytest.raises(InputError, match="training without a folder keeps no checkpoint"):
        trainer().run(resume=True)
    with pytest.raises(InputError, match=r"has no checkpoint last.safetensors: train it first"):
        trainer(tmp_path / "run" / "checkpoints").run(resume=True)


def test_truncated_and_foreign_checkpoints_are_told(tmp_path):
    trainer(tmp_path, steps=3).run()
    path = tmp_path / "last.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is truncated or no checkpoint"):
        trainer(tmp_path).run(resume=True)
    path.write_bytes(b"hello")
    with pytest.raises(InputError, match="is truncated or no checkpoint"):
        trainer(tmp_path).run(resume=True)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="foreign checkpoint"):
        trainer(tmp_path).run(resume=True)
    save_file({"a": torch.zeros(2)}, path, metadata={"pyro_msm": json.dumps({"schema": 99})})
    with pytest.raises(InputError, match=r"foreign checkpoint \(kind None, schema 99"):
        trainer(tmp_path).run(resume=True)
    with pytest.raises(InputError, match=r"kind 'model'.* expected 'training'"):
        load_checkpoint(tmp_path / "best.safetensors", "training")


@pytest.mark.parametrize("other", [{"micro": 3}, {"micro": 0}, {"hidden": 9}])
def test_the_checkpoint_of_another_model_is_told(tmp_path, other):
    trainer(tmp_path, steps=3).run()
    made = trainer(tmp_path)
    made = Trainer(*model_and_guide(DATA, **other), WINDOWS, made.settings, folder=tmp_path)
    with pytest.raises(InputError, match="holds the training of another model"):
        made.run(resume=True)
    tensors, _ = load_checkpoint(tmp_path / "best.safetensors", "model")
    pair = torch.nn.ModuleDict({"model": made.model, "guide": made.guide})
    with pytest.raises(InputError, match="holds another model"):
        restore_into(pair, tensors, tmp_path / "best.safetensors")


def test_a_checkpoint_is_written_at_one_stroke(tmp_path):
    path = tmp_path / "some" / "folder" / "last.safetensors"
    save_checkpoint(path, {"a": torch.arange(6.0).reshape(2, 3).T}, {"kind": "training", "k": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"a": torch.zeros(1)}, {"kind": object()})
    tensors, header = load_checkpoint(path, "training")
    np.testing.assert_array_equal(tensors["a"].numpy(), np.arange(6.0).reshape(2, 3).T)
    assert header["k"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["last.safetensors"]
