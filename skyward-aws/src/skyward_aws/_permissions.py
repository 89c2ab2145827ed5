"""What the account must be allowed to do, tried without doing it, before anything is made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skyward import AuthenticationFailed, ProviderError
from skyward_aws._api import action_of
from skyward_aws._errors import combined

if TYPE_CHECKING:
    from skyward_aws._api import Api

__all__ = ["trials", "tried", "try_out"]


def trials(
    *,
    key: str,
    image: str,
    kind: str,
    subnet: str,
    vpc: str,
    tags: list[dict[str, Any]],
    group: bool,
    profile: str | None,
) -> dict[str, Any]:
    """The requests of a pool's life, by their names, each to be tried only.

    Args:
        key: the public key that would be imported.
        image: that would be booted.
        kind: the instance type that would boot it.
        subnet: where.
        vpc: of the subnet.
        tags: that all would bear, without the kind of the resource.
        group: whether a security group would be made.
        profile: name of the instance profile whose role the machine would have.
    """

    def tagged(*resources: str) -> list[dict[str, Any]]:
        return [{"ResourceType": resource, "Tags": tags} for resource in resources]

    template = {"LaunchTemplateName": "skyward-trial", "Version": "1"}
    override = {"InstanceType": kind, "SubnetId": subnet}
    making: dict[str, Any] = {
        "import_key_pair": {
            "KeyName": "skyward-trial",
            "PublicKeyMaterial": key.encode(),
            "TagSpecifications": tagged("key-pair"),
        },
        "create_launch_template": {
            "LaunchTemplateName": "skyward-trial",
            "LaunchTemplateData": {"ImageId": image},
            "TagSpecifications": tagged("launch-template"),
        },
        "run_instances": {
            "ImageId": image,
            "InstanceType": kind,
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": subnet,
            # Whoever may make tagged things only is refused if one of them is not.
            "TagSpecifications": tagged("instance", "volume", "network-interface"),
            **({} if profile is None else {"IamInstanceProfile": {"Name": profile}}),
        },
        "create_fleet": {
            "Type": "instant",
            "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": template, "Overrides": [override]}],
            "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
            "TagSpecifications": tagged("fleet"),
        },
    }
    if group:
        making["create_security_group"] = {
            "GroupName": "skyward-trial",
            "Description": "tried only",
            "VpcId": vpc,
            "TagSpecifications": tagged("security-group"),
        }
    return making


async def try_out(api: Api, requests: Mapping[str, Any]) -> None:
    """Try requests before the first of them is meant.

    Raises:
        AuthenticationFailed: naming every action that is not allowed.
    """
    if missing := [error for error in (await tried(api, requests)).values() if error is not None]:
        raise combined(missing)


async def tried(api: Api, requests: Mapping[str, Any]) -> dict[str, AuthenticationFailed | None]:
    """Try requests, all at the same time: by the action's name in a policy, what forbids it.

    Only a refusal for want of a permission counts: others are about the trial, and DryRunOperation is AWS's word for
    yes.
    """

    async def one(operation: str, parameters: Mapping[str, Any]) -> AuthenticationFailed | None:
        try:
            await api.order(operation, DryRun=True, **parameters)
        except AuthenticationFailed as error:
            return error
        except ProviderError:
            pass
        return None

    answers = await asyncio.gather(*(one(operation, each) for operation, each in requests.items()))
    return dict(zip(map(action_of, requests), answers, strict=True))
