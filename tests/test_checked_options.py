"""An optimizer's state from a checkpoint is refused where a step would fail or train otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from distgan.config.optimizer import AdamSettings
from distgan.training import optimizer
from distgan.training.checked_options import load


def trained(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    network = nn.Linear(3, 2)
    adam = optimizer.build(AdamSettings(), network)
    for _ in range(3):
        network(torch.randn(4, 3)).square().sum().backward()
        adam.step()
        adam.zero_grad()
    return network, adam


Edit = Callable[[dict[str, Any]], Any]


def option(name: str, value: Any) -> Edit:
    return lambda state: state["param_groups"][0].update({name: value})


def moment(name: str, value: Any) -> Edit:
    return lambda state: state["state"][0].update({name: value})


POISONED: dict[str, tuple[Edit, str]] = {
    "a rate that is text": (option("lr", "fast"), "option lr is 'fast'"),
    "a rate that is no number": (option("lr", float("nan")), "option lr is nan"),
    "a rate that is true": (option("lr", True), "option lr is True"),
    "one beta": (option("betas", (0.5,)), "option betas is"),
    "betas of text": (option("betas", "ab"), "option betas is 'ab'"),
    "another eps": (option("eps", 1.0), "option eps is 1.0"),
    "an eps of text": (option("eps", "1e-8"), "option eps is '1e-8'"),
    "a decay": (option("weight_decay", 0.5), "option weight_decay is 0.5"),
    "ascent": (option("maximize", True), "option maximize is True"),
    "a list": (option("amsgrad", [1]), r"option amsgrad is \[1\]"),
    "no groups": (lambda state: state.pop("param_groups"), "has no groups"),
    "groups of text": (lambda state: state.update(param_groups=["x"]), "has no groups"),
    "two groups": (
        lambda state: state["param_groups"].append(dict(state["param_groups"][0])),
        "has 2 groups",
    ),
    "other parameters": (option("params", [0]), "doesn't match the size"),
    "a moment of another shape": (moment("exp_avg", torch.zeros(2)), r"'exp_avg' .* shape \(2,\)"),
    "a moment of text": (moment("exp_avg_sq", "x"), "'exp_avg_sq' of parameter 0 is 'x'"),
    "a step that is none": (moment("step", "3"), "'step' of parameter 0 is '3'"),
    "a moment less": (lambda state: state["state"][0].pop("exp_avg"), "has no exp_avg of par"),
    "states of text": (lambda state: state.update(state="x"), "has no state"),
    "a state of text": (lambda state: state["state"].update({0: "x"}), "no state of parameter 0"),
    "no state": (lambda state: state.pop("state"), "state"),
}


@pytest.mark.parametrize("what", POISONED)
def test_poisoned_states_are_refused(what: str) -> None:
    edit, said = POISONED[what]
    _, adam = trained()
    state = copy.deepcopy(adam.state_dict())
    edit(state)
    with pytest.raises(ValueError, match=said) as caught:
        load(adam, state)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("state", [None, [], "x", {}, {"weight": torch.zeros(2, 3)}])
def test_a_network_of_something_else_is_refused(state: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        load(trained()[0], state)


def test_what_is_whole_goes_on_to_the_bit() -> None:
    network, adam = trained()
    other, follower = trained(1)
    load(other, copy.deepcopy(network.state_dict()))
    load(follower, copy.deepcopy(adam.state_dict()))
    for each, steps in ((network, adam), (other, follower)):
        each(torch.ones(4, 3)).square().sum().backward()
        steps.step()
    assert torch.equal(network.weight, other.weight)
    # Of a schedule's another moment, and of another version of torch.
    state = adam.state_dict()
    state["param_groups"][0].update(lr=0.5, betas=(0.0, 0.9), newer="option")
    load(adam, state)
