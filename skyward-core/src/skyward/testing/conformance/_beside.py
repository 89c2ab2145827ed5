"""The rules of what an integration does beside functions: supplying nodes, and surrounding the blocks of pools."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import cast

from skyward._pool import ComputePool
from skyward.errors import ConfigurationError
from skyward.function import compute
from skyward.model.image import Image
from skyward.model.spec import ComputeSpec
from skyward.model.supplies import Supplies
from skyward.spi.integration import Integration, Supplying, Surrounding
from skyward.testing.conformance._kit import Broken, Conformance, check, skip
from skyward.testing.conformance._quiet import quietly
from skyward.testing.conformance._samples import total

__all__ = ["BesideRules"]

_SPEC = ComputeSpec(nodes=1, image=Image())


class BesideRules(Conformance):
    """Tests of ``supplies`` and of ``around``; those of what an integration does not have are skipped."""

    def pool(self, *plugins: Integration) -> AbstractContextManager[ComputePool]:
        """The pool that functions are run on: one local node by default."""
        return ComputePool(nodes=1, plugins=plugins, display="quiet", lease=60)

    def test_it_gives_supplies(self, integration: Integration) -> None:
        _supplies(integration)

    def test_it_supplies_the_same_when_it_is_asked_again(self, integration: Integration) -> None:
        first, second = _supplies(integration), _supplies(integration)
        check(
            first == second,
            f"asked twice for the same request the integration supplies {first!r} and then {second!r}; let it "
            "depend on its settings, the request and what is installed",
        )

    def test_it_says_what_it_supplies_without_network_processes_or_waiting(self, integration: Integration) -> None:
        supplying = _supplying(integration)
        with quietly() as noticed:
            supplying.supplies(_SPEC)
        check(
            not noticed,
            f"supplies {' and '.join(dict.fromkeys(noticed))}; say it from what is known on this machine: no pool "
            "starts before it has answered",
        )

    def test_its_requirements_can_be_met_together(self, integration: Integration) -> None:
        from skyward._supplying import together_with

        supplies = _supplies(integration)
        try:
            together_with(Image(), [("one", supplies), ("the other", supplies)])
        except ConfigurationError as error:
            raise Broken(
                f"no environment can meet what the integration supplies ({error}); let it name each package once, by "
                "what its own requirements agree on"
            ) from error

    def test_it_leaves_packages_to_the_image_that_names_them(self, integration: Integration) -> None:
        from skyward._supplying import title_of, together_with

        supplies = _supplies(integration)
        image = Image(pip=supplies.pip)
        again = _supplying(integration).supplies(ComputeSpec(nodes=1, image=image))
        check(
            together_with(image, [(title_of(integration), again)]).pip == image.pip,
            f"the image names all of {list(supplies.pip)}, and the integration supplies other packages then; name the "
            "same ones whatever the image says: of what it names, its own requirements stand",
        )

    def test_what_it_puts_around_a_pool_is_entered_and_left(self, integration: Integration) -> None:
        surrounding = _surrounding(integration)
        function = compute(total)
        with self.pool() as pool:
            with _around(surrounding, pool):
                has = pool.run(function(2, 3))
            check(has == 5, f"total(2, 3) >> pool gave {has!r} inside of what is around the pool; leave results alone")
            has = pool.run(function(2, 3))
            check(has == 5, f"total(2, 3) >> pool gave {has!r} after what was around the pool; leave the pool usable")

    def test_it_surrounds_pools_side_by_side_and_one_after_another(self, integration: Integration) -> None:
        surrounding = _surrounding(integration)
        with self.pool() as outer, self.pool() as inner:
            for _ in range(2):
                first, second = _around(surrounding, outer), _around(surrounding, inner)
                check(
                    first is not second,
                    "around gave the same context manager for two pools; make a new one each time",
                )
                try:
                    with first, second:
                        pass
                except Exception as error:
                    raise Broken(
                        f"with one pool inside another one, {type(error).__name__} was raised: {error}; keep what "
                        "belongs to a pool in its context manager"
                    ) from error

    def test_it_is_not_what_ends_an_error_of_the_block(self, integration: Integration) -> None:
        surrounding = _surrounding(integration)
        with self.pool() as pool:
            try:
                with _around(surrounding, pool):
                    raise LookupError("gone")
            except LookupError as error:
                if error.args == ("gone",):
                    return
                raise
            except Exception as error:
                raise Broken(
                    f"the block raised LookupError('gone'), and {error!r} came out; let what the block raises pass"
                ) from error
        raise Broken("the block raised LookupError('gone'), and nothing came out; return nothing from __exit__")


def _supplying(integration: Integration) -> Supplying:
    if not isinstance(integration, Supplying):
        skip("it has no supplies")
    return integration


def _supplies(integration: Integration) -> Supplies:
    found = cast("object", _supplying(integration).supplies(_SPEC))
    check(isinstance(found, Supplies), f"supplies gave {found!r}; return a skyward.spi.Supplies")
    return cast("Supplies", found)


def _surrounding(integration: Integration) -> Surrounding:
    if not isinstance(integration, Surrounding):
        skip("it has no around")
    return integration


def _around(surrounding: Surrounding, pool: ComputePool) -> AbstractContextManager[object]:
    found = cast("object", surrounding.around(pool))
    check(
        isinstance(found, AbstractContextManager),
        f"around gave {found!r}; return a context manager: put @contextlib.contextmanager above it",
    )
    return cast("AbstractContextManager[object]", found)
