"""The integration keeps the rules of integrations, on nodes that have TensorFlow."""

from __future__ import annotations

import pickle

import pytest
from frameworks import FrameworkConformance

import skyward as sky
from skyward._stand_in import stand_in_class
from skyward.spi import ComputeSpec
from skyward_tensorflow import TensorFlow, tensorflow
from skyward_tensorflow._judging import is_consequence


class TestTensorFlow(FrameworkConformance):
    plugin = tensorflow()


def test_it_is_a_value_that_users_find_by_its_name() -> None:
    assert sky.integrations.tensorflow is tensorflow
    assert tensorflow() == pickle.loads(pickle.dumps(tensorflow)) == TensorFlow()
    with pytest.raises(sky.ConfigurationError, match="has no settings, and was given 'nccl'"):
        tensorflow("nccl")  # type: ignore[call-overload]


def test_gpus_of_nvidia_bring_their_libraries() -> None:
    plain = tensorflow.supplies(ComputeSpec(nodes=2, image=sky.Image()))
    assert plain.private_network
    assert plain.pip == ("tensorflow>=2.20",)
    gpus = ComputeSpec(nodes=2, image=sky.Image(), accelerator=sky.accelerators.T4())
    assert tensorflow.supplies(gpus).pip == ("tensorflow[and-cuda]>=2.20",)


def test_what_follows_from_another_workers_failure_is_known_by_name_alone() -> None:
    module = "tensorflow.python.framework.errors_impl"
    base = stand_in_class(module, "OpError", (Exception,))
    unavailable = stand_in_class(module, "UnavailableError", (base,))()
    internal, other = (stand_in_class(module, "InternalError", (base,))() for _ in range(2))
    internal.__dict__["__remote_text__"] = "Collective ops is aborted by: Delete called on non-empty BufRendezvous"
    other.__dict__["__remote_text__"] = "Blas GEMM launch failed"
    raised = RuntimeError("the step failed")
    raised.__cause__ = unavailable
    assert [is_consequence(error) for error in (unavailable, internal, raised)] == [True] * 3
    own = type("UnavailableError", (Exception,), {})()
    assert [is_consequence(error) for error in (other, own, ValueError("mine"))] == [False] * 3
