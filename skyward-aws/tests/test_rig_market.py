"""The rig answers where moto does not: what is for sale, at what price, and page by page. By boto3, over HTTP."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rig import KINDS, Rig


def code(problem: pytest.ExceptionInfo[ClientError]) -> str:
    return problem.value.response["Error"]["Code"]


def every(client: Any, operation: str, key: str, **asked: Any) -> tuple[list[Any], int]:
    """All items, and on how many pages they came."""
    pages = [page[key] for page in client.get_paginator(operation).paginate(**asked)]
    return [item for page in pages for item in page], len(pages)


def test_types_come_in_pages_and_are_all_there(aws_api: Rig) -> None:
    types, pages = every(boto3.client("ec2"), "describe_instance_types", "InstanceTypes")
    assert {each["InstanceType"] for each in types} == KINDS.keys()
    assert len(types) == len(KINDS)
    assert pages == -(-len(KINDS) // aws_api.market.page) > 1
    assert {each["InstanceType"]: each["VCpuInfo"]["DefaultVCpus"] for each in types} == {
        kind.name: kind.vcpus for kind in KINDS.values()
    }


def test_offerings_come_in_pages_by_zone(aws_api: Rig) -> None:
    offered, pages = every(
        boto3.client("ec2"),
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
    )
    assert pages > 1
    assert {"us-east-1a", "us-east-1b"} <= {each["Location"] for each in offered if each["InstanceType"] == "t3.micro"}
    assert {each["InstanceType"] for each in offered} <= KINDS.keys()


def test_lists_come_in_pages_where_they_are_asked_for(aws_api: Rig) -> None:
    ec2 = boto3.client("ec2")
    whole = ec2.describe_subnets()["Subnets"]
    parts, pages = every(ec2, "describe_subnets", "Subnets", PaginationConfig={"PageSize": 5})
    assert (parts, pages) == (whole, 2)


def test_the_price_list_has_each_type_once_under_the_usual_filters(aws_api: Rig) -> None:
    wanted = {
        "regionCode": "eu-central-1",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
    }
    pricing = boto3.client("pricing", region_name="us-east-1")
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    texts, pages = every(pricing, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters)
    prices = {}
    for product in map(json.loads, texts):
        (term,) = product["terms"]["OnDemand"].values()
        (dimension,) = term["priceDimensions"].values()
        prices[product["product"]["attributes"]["instanceType"]] = float(dimension["pricePerUnit"]["USD"])
    assert pages > 1
    assert len(texts) == len(KINDS)
    assert prices == {name: aws_api.market.on_demand_price(name, "eu-central-1") for name in KINDS}
    more, _ = every(pricing, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters[:1])
    assert len(more) > 5 * len(KINDS), "without the filters there is nothing that one must tell from it"


def test_spot_prices_differ_by_zone_and_are_those_of_now(aws_api: Rig) -> None:
    aws_api.market.spot["g5.xlarge", "us-east-1b"] = 0.25
    history, pages = every(
        boto3.client("ec2"),
        "describe_spot_price_history",
        "SpotPriceHistory",
        StartTime=dt.datetime.now(dt.UTC),
        ProductDescriptions=["Linux/UNIX"],
        InstanceTypes=["g5.xlarge", "t3.micro", "trn1.2xlarge"],
    )
    prices = {(each["InstanceType"], each["AvailabilityZone"]): float(each["SpotPrice"]) for each in history}
    assert (len(prices), len(history), pages) == (12, 12, 2), "trn1 is not sold as spot"
    assert prices["g5.xlarge", "us-east-1b"] == 0.25 != prices["g5.xlarge", "us-east-1a"]
    assert {each["ProductDescription"] for each in history} == {"Linux/UNIX"}


def test_spot_prices_without_a_start_tell_the_past_as_well(aws_api: Rig) -> None:
    history = boto3.client("ec2").describe_spot_price_history(InstanceTypes=["t3.micro"], MaxResults=5)
    assert len(history["SpotPriceHistory"]) == 5
    assert history["NextToken"]
    assert len({each["Timestamp"] for each in history["SpotPriceHistory"]}) == 2


def test_placement_scores_are_given_per_region_or_zone(aws_api: Rig) -> None:
    ec2 = boto3.client("ec2")
    asked: dict[str, Any] = {"InstanceTypes": ["t3.micro"], "TargetCapacity": 1}
    (score,) = ec2.get_spot_placement_scores(RegionNames=["us-east-1"], **asked)["SpotPlacementScores"]
    assert (score["Region"], score["Score"]) == ("us-east-1", 9)
    zones = ec2.get_spot_placement_scores(SingleAvailabilityZone=True, **asked)["SpotPlacementScores"]
    assert zones[0]["AvailabilityZoneId"] == "use1-az1"


def test_quotas_of_ec2_can_be_read(aws_api: Rig) -> None:
    quotas = boto3.client("service-quotas")
    aws_api.market.quotas["L-DB2E81BA"] = 8
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-DB2E81BA")["Quota"]["Value"] == 8
    assert len(every(quotas, "list_service_quotas", "Quotas", ServiceCode="ec2")[0]) == len(aws_api.market.quotas)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id", "arm64"),
        ("/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id", "x86_64"),
        ("/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id", "x86_64"),
    ],
)
def test_public_parameters_name_images_that_there_are(aws_api: Rig, name: str, architecture: str) -> None:
    image = boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    assert boto3.client("ec2").describe_images(ImageIds=[image])["Images"][0]["Architecture"] == architecture


def test_an_unknown_parameter_is_not_found(aws_api: Rig) -> None:
    ssm = boto3.client("ssm")
    with pytest.raises(ClientError) as problem:
        ssm.get_parameter(Name="/aws/service/canonical/ubuntu/server/4.10/ami-id")
    assert code(problem) == "ParameterNotFound"
    known = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
    answer = ssm.get_parameters(Names=[known, "/aws/service/none"])
    assert [each["Name"] for each in answer["Parameters"]] == [known]
    assert answer["InvalidParameters"] == ["/aws/service/none"]
