"""Which version answers."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.backend import Signature
from gateway.catalog import Catalog, Servable
from gateway.errors import ModelNotFound, NotReady

Answer = TypeVar("Answer")

RETRY_AFTER = 1.0


def route(catalog: Catalog, name: str, version: int) -> Servable:
    """The version of model `name` to ask: `version`, or with 0 the default one.

    ModelNotFound if there is no such model or version, NotReady if it exists and cannot answer yet.
    """
    model = catalog.model(name)
    if version == 0:
        if model.default is None:
            raise NotReady(f"no version of the model {model.name!r} is ready; retry later", retry_after=RETRY_AFTER)
        return model.default
    known = model.versions.get(version)
    if known is None:
        # A backend that is away cannot say which versions there are.
        if not model.versions and not model.backend_up:
            raise NotReady(f"no version of the model {model.name!r} is ready; retry later", retry_after=RETRY_AFTER)
        there = ", ".join(str(number) for number in sorted(model.versions)) or "none"
        raise ModelNotFound(
            f"the model {model.name!r} has no version {version}; there are: {there}",
            reason="VERSION_NOT_FOUND",
            field="version",
        )
    if known.servable is None:
        raise NotReady(
            f"version {version} of the model {model.name!r} is {known.state.value}: {known.detail}",
            reason="VERSION_NOT_READY",
            retry_after=RETRY_AFTER,
        )
    return known.servable


async def ask(
    catalog: Catalog, name: str, version: int, question: Callable[[Servable], Awaitable[Answer]]
) -> tuple[Servable, Answer]:
    """The answer of the version that `route` picks; if the backend has dropped it meanwhile, of its successor."""
    servable = route(catalog, name, version)
    try:
        return servable, await question(servable)
    except ModelNotFound as error:
        if error.field is not None:
            raise
        # The backend has dropped the version since the last poll: see what there is now.
        await catalog.refresh(servable.model)
        successor = route(catalog, name, version)
        if successor is servable:
            raise NotReady(
                f"version {servable.version} of the model {servable.model!r} is being replaced; retry later",
                retry_after=RETRY_AFTER,
            ) from error
        return successor, await question(successor)


def signature_of(servable: Servable, name: str) -> Signature:
    """The signature called `name`, or with an empty name the default one; ModelNotFound if there is none."""
    wanted = name or servable.default_signature
    if wanted not in servable.signatures:
        raise ModelNotFound(
            f"version {servable.version} of the model {servable.model!r} has no signature {wanted[:100]!r}; "
            f"there are: {', '.join(sorted(servable.signatures)) or 'none'}",
            reason="SIGNATURE_NOT_FOUND",
            field="signature",
        )
    return servable.signatures[wanted]
