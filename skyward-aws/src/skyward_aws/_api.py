"""AWS's interfaces through boto3, which blocks: each call on a thread of its own, each error in skyward's words.

boto3 is imported with the first `Api`. Its clients may be used by several threads, what makes them may not.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skyward import AuthenticationFailed, Unavailable
from skyward_aws._errors import Unclear, is_unclear, translated

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config

__all__ = ["Api", "action_of"]


class Api:
    """An account of AWS in one region, and in others where that is said.

    Args:
        session: boto3's.
        region: the region that is meant where none is named.
        questions: how clients ask: again after a passing failure.
        orders: how clients create: once, since whoever asks blindly again may buy twice.
    """

    def __init__(self, session: boto3.Session, region: str, questions: Config, orders: Config) -> None:
        self.region = region
        self.account = ""
        self._session = session
        self._configs = {False: questions, True: orders}
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._making = threading.Lock()

    @classmethod
    async def open(cls, region: str, profile: str | None) -> Api:
        """Find the credentials, and ask AWS whose they are, which needs no permission.

        Raises:
            AuthenticationFailed: there are none, they are refused, or there is no such profile.
            Unavailable: there is no such region.
            Transient: AWS cannot be reached.
        """
        api = await asyncio.to_thread(_made, cls, region, profile)
        try:
            api.account = str((await api.ask("get_caller_identity", service="sts"))["Account"])
        except Exception as error:
            raise api._unknown_region() or error from error
        return api

    def _unknown_region(self) -> Unavailable | None:
        """What is wrong with the region, if boto3 does not know it; it may be newer than boto3."""
        partitions = self._session.get_available_partitions()
        known = [name for each in partitions for name in self._session.get_available_regions("ec2", each)]
        if self.region in known:
            return None
        near = difflib.get_close_matches(self.region, known, n=3)
        hint = f"did you mean {' or '.join(near)}" if near else "see `aws ec2 describe-regions`"
        return Unavailable(f"AWS has no region {self.region!r} that can be reached: {hint}?")

    async def ask(
        self, operation: str, *, service: str = "ec2", region: str | None = None, **parameters: object
    ) -> dict[str, Any]:
        """Call what creates nothing, or may be repeated. After a passing failure it is called again.

        Raises:
            ProviderError: one of the contract's four.
        """
        return await self._called(service, operation, region, parameters, once=False)

    async def order(
        self, operation: str, *, service: str = "ec2", region: str | None = None, **parameters: object
    ) -> dict[str, Any]:
        """Call once what creates something.

        Raises:
            Unclear: nobody can know whether it has.
            ProviderError: it has not.
        """
        return await self._called(service, operation, region, parameters, once=True)

    async def pages(
        self, operation: str, key: str, *, service: str = "ec2", region: str | None = None, **parameters: object
    ) -> list[Any]:
        """What all pages of an answer have under a key."""

        def walk(client: Any) -> list[Any]:
            pages = client.get_paginator(operation).paginate(**parameters)
            return [each for page in pages for each in page.get(key, ())]

        found: list[Any] = await self._translated(service, operation, region, walk, once=False)
        return found

    async def _called(
        self, service: str, operation: str, region: str | None, parameters: dict[str, object], *, once: bool
    ) -> dict[str, Any]:
        def call(client: Any) -> dict[str, Any]:
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
            return answer

        return await self._translated(service, operation, region, call, once=once)

    async def _translated[T](
        self, service: str, operation: str, region: str | None, use: Callable[[Any], T], *, once: bool
    ) -> T:
        where = region or self.region

        def used() -> T:
            return use(self._client(service, where, once=once))

        try:
            return await asyncio.to_thread(used)
        except Exception as error:
            told = translated(error, action_of(operation, service), where)
            if told is None:
                raise
            if once and is_unclear(error):
                raise Unclear(str(told)) from error
            raise told from error

    def _client(self, service: str, region: str, *, once: bool) -> Any:
        with self._making:
            client = self._clients.get((service, region, once))
            if client is None:
                config = self._configs[once]
                client = self._session.client(service, region_name=region, config=config)  # type: ignore[call-overload]
                self._clients[service, region, once] = client
            return client

    def endpoint(self, service: str = "ec2") -> str:
        """Where EC2, or another service, is asked."""
        return str(self._client(service, self.region, once=False).meta.endpoint_url)

    async def credentials(self) -> tuple[str, str, str]:
        """The credentials in use now: the id of the key, its secret, and a token where they are short-lived.

        Raises:
            AuthenticationFailed: there are none.
        """

        def found() -> tuple[str, str, str]:
            own = self._session.get_credentials()
            if own is None:
                raise AuthenticationFailed("there are no credentials for AWS any more: set them again")
            frozen = own.get_frozen_credentials()
            return str(frozen.access_key), str(frozen.secret_key), str(frozen.token or "")

        return await asyncio.to_thread(found)

    async def close(self) -> None:
        """Close the connections. What is asked after that opens new ones."""
        with self._making:
            clients, self._clients = list(self._clients.values()), {}
        await asyncio.to_thread(lambda: [client.close() for client in clients])


def action_of(operation: str, service: str = "ec2") -> str:
    """An operation of boto3's as a policy names it: ``ec2:CreateFleet`` for ``create_fleet``."""
    return f"{service}:{''.join(word.capitalize() for word in operation.split('_'))}"


def _made(kind: type[Api], region: str, profile: str | None) -> Api:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ProfileNotFound

    common: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 30, "max_pool_connections": 16}
    questions = Config(retries={"total_max_attempts": 4, "mode": "standard"}, **common)
    orders = Config(retries={"total_max_attempts": 1, "mode": "standard"}, **common)
    try:
        return kind(boto3.Session(profile_name=profile, region_name=region), region, questions, orders)
    except ProfileNotFound as error:
        raise AuthenticationFailed(_profiles(profile)) from error
    except Exception as error:
        told = translated(error, "reading the settings of AWS's tools", region)
        if told is None:
            raise
        raise told from error


def _profiles(profile: str | None) -> str:
    """What is wrong with a profile that does not exist, and which ones do."""
    from botocore.session import Session

    name = profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or ""
    known = list(Session().available_profiles)
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}" if near else f"there is {', '.join(sorted(known)[:10]) or 'none'}"
    return f"~/.aws/config has no profile {name!r}, {hint}: name one in AWS(profile=...) or AWS_PROFILE, or make it"
