"""``IntegrationConformance``: the rules of an integration."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, cast

from skyward._codec import decode, encode_function
from skyward.function import ComputeFunction, compute
from skyward.spi.integration import Integration
from skyward.testing.conformance._beside import BesideRules
from skyward.testing.conformance._kit import Broken, check
from skyward.testing.conformance._quiet import quietly
from skyward.testing.conformance._samples import failing, product, total

__all__ = ["IntegrationConformance"]


class IntegrationConformance(BesideRules):
    """Tests of an integration. Supply the fixture ``integration``: the object that decorates a function.

    What it has of :class:`skyward.spi.Supplying` and :class:`skyward.spi.Surrounding` is tested, too.

    Attributes:
        frameworks: top-level modules that applying it must not import. Add your own framework.
    """

    frameworks: Collection[str] = (
        "accelerate",
        "flax",
        "jax",
        "joblib",
        "keras",
        "lightning",
        "numpy",
        "sklearn",
        "tensorflow",
        "torch",
        "transformers",
    )

    def test_it_gives_a_compute_function(self, integration: Integration) -> None:
        _apply(integration, compute(total))

    def test_applying_it_imports_no_framework(self, integration: Integration) -> None:
        with quietly(self.frameworks) as noticed:
            try:
                integration(compute(total))
            except ImportError as error:
                noticed.append(f"imports {error.name}")
        imported = [each for each in noticed if each.startswith("imports ")]
        check(
            not imported,
            f"applying the integration {' and '.join(dict.fromkeys(imported))}; import it inside the function that "
            "runs on the node: a client need not have it",
        )

    def test_applying_it_is_cheap(self, integration: Integration) -> None:
        with quietly() as noticed:
            integration(compute(total))
        check(
            not noticed,
            f"applying the integration {' and '.join(dict.fromkeys(noticed))}; do that inside the function that runs "
            "on the node: a pool applies it to every function",
        )

    def test_name_documentation_and_signature_are_kept(self, integration: Integration) -> None:
        applied = _apply(integration, compute(total))
        for what, has, had in (
            ("name", applied.name, total.__name__),
            ("documentation", inspect.getdoc(applied), inspect.getdoc(total)),
            ("signature", str(inspect.signature(applied.local)), str(inspect.signature(total))),
        ):
            check(
                has == had,
                f"the {what} of the function was {had!r} and is {has!r} under the integration; put "
                "functools.wraps(function.local) on the function that runs in its place",
            )

    def test_retry_is_kept(self, integration: Integration) -> None:
        applied = _apply(integration, compute(retry=3)(total))
        check(
            applied.retry == 3,
            f"a function with retry=3 has retry={applied.retry} under the integration; hand it on: "
            "ComputeFunction(around, function.retry)",
        )

    def test_together_is_kept(self, integration: Integration) -> None:
        applied = _apply(integration, ComputeFunction(total, together=True))
        check(
            applied.together,
            "a function with together=True has together=False under the integration, so that its group would not be "
            "formed; hand it on: ComputeFunction(around, function.retry, function.together)",
        )

    def test_local_keeps_working(self, integration: Integration) -> None:
        applied = _apply(integration, compute(total))
        _same(applied.local(2, 3), 5, "total.local(2, 3)")
        _same(applied.local(2), 3, "total.local(2), with a default,")
        _same(applied.local(second=2, first=2), 4, "total.local(second=2, first=2)")

    def test_what_the_function_raises_comes_out_as_it_is(self, integration: Integration) -> None:
        applied = _apply(integration, compute(failing))
        try:
            applied.local("gone")
        except Exception as error:
            if type(error) is LookupError and error.args == ("gone",):
                return
            raise Broken(
                f"the function raised LookupError('gone'), and {error!r} came out; let its exceptions pass"
            ) from error
        raise Broken("the function raised LookupError('gone'), and nothing came out; let its exceptions pass")

    def test_each_function_keeps_its_own_result(self, integration: Integration) -> None:
        sums, products = _apply(integration, compute(total)), _apply(integration, compute(product))
        _same(products.local(4, 5), 20, "product.local(4, 5)")
        _same(sums.local(4, 5), 9, "total.local(4, 5), applied to before product,")

    def test_the_function_itself_is_left_as_it_is(self, integration: Integration) -> None:
        function = compute(total)
        before = dict(vars(function))
        integration(function)
        check(
            vars(function) == before and function.local is total,
            "the integration changed the function that it was given; return a new one: the old one may be in use "
            "without it",
        )

    def test_it_can_be_applied_twice(self, integration: Integration) -> None:
        _same(
            _apply(integration, _apply(integration, compute(total))).local(2, 3), 5, "total.local(2, 3), applied twice,"
        )

    def test_it_serves_above_and_below_compute(self, integration: Integration) -> None:
        above = _apply(integration, compute(total))
        plain: Any = total
        try:
            under = compute(integration(plain))
        except Exception as error:
            raise Broken(
                f"below @compute the integration is given a plain function, and that raised {type(error).__name__}: "
                f"{error}; begin with function = skyward.compute(function), which takes both"
            ) from error
        _same(above.local(2, 3), 5, "total.local(2, 3), with the integration above @compute,")
        _same(under.local(2, 3), 5, "total.local(2, 3), with the integration below @compute,")

    def test_the_applied_function_pickles(self, integration: Integration) -> None:
        applied = _apply(integration, compute(total))
        try:
            payload = encode_function(applied).payload
            twin = decode(payload.data, [bytearray(view) for view in payload.buffers])
        except Exception as error:
            raise Broken(
                f"the function does not pickle under the integration ({type(error).__name__}: {error}); keep plain "
                "values in it, and make whatever else it needs on the node"
            ) from error
        run = getattr(
            twin, "__skyward_local__", twin
        )  # as a node does: what was pickled is the function or its wrapper
        _same(run(2, 3), 5, "total.local(2, 3), after pickling,")

    def test_it_runs_on_a_node_as_a_decorator(self, integration: Integration) -> None:
        applied = _apply(integration, compute(total))
        with self.pool() as pool:
            _same(pool.run(applied(2, 3)), 5, "total(2, 3) >> pool, with the integration as decorator,")

    def test_it_runs_on_a_node_as_a_plugin_of_the_pool(self, integration: Integration) -> None:
        function = compute(total)
        with self.pool(integration) as pool:
            _same(pool.run(function(2, 3)), 5, "total(2, 3) >> pool, with the integration in plugins=[...],")


def _apply(integration: Integration, function: ComputeFunction[..., Any]) -> ComputeFunction[..., Any]:
    applied = cast("object", integration(function))
    check(
        isinstance(applied, ComputeFunction),
        f"the integration returned {type(applied).__name__}; return a compute function: put @skyward.compute on the "
        "function that runs in the place of the given one",
    )
    return cast("ComputeFunction[..., Any]", applied)


def _same(has: object, should: object, call: str) -> None:
    check(
        has == should,
        f"{call} gave {has!r} under the integration, and gives {should!r} without it; pass arguments and result on",
    )
