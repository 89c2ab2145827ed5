"""An instance of the rig is a machine that one can log in to, and whose end the API tells of. On real containers."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncssh
import boto3
import pytest
from botocore.exceptions import ClientError
from rig import Rig
from rig.machines import podman

from skyward.spi import new_key_pair

IMAGE = "resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
ASK = """
import sys, urllib.request, urllib.error
base = "http://169.254.169.254/latest/"
def ask(path, method="GET", **headers):
    try:
        request = urllib.request.Request(base + path, method=method, headers=headers)
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as problem:
        return str(problem.code)
print(ask("meta-data/instance-id"))
token = ask("api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
for path in sys.argv[1:]:
    print(ask(path, **{"X-aws-ec2-metadata-token": token}))
"""


class Buyer:
    """Launches as a provider does, and logs in with nothing but what the API tells."""

    def __init__(self, aws: Rig) -> None:
        self._aws = aws
        self.ec2: Any = boto3.client("ec2")
        self.key, self.host = new_key_pair("client"), new_key_pair("host")
        self.group = self.ec2.create_security_group(GroupName="mine", Description="mine")["GroupId"]

    def let_in(self, network: str = "198.51.100.0/24", port: int = 22) -> None:
        self.ec2.authorize_security_group_ingress(
            GroupId=self.group, IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp=network
        )

    def run(
        self, *, profile: str | None = None, behaviour: str = "terminate", key_name: str | None = None, **config: Any
    ) -> str:
        settings = {
            "ssh_keys": {"ed25519_private": self.host.private, "ed25519_public": self.host.public},
            **({} if key_name else {"ssh_authorized_keys": [self.key.public]}),
            **config,
        }
        made = self.ec2.run_instances(
            ImageId=IMAGE,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            UserData="#cloud-config\n" + json.dumps(settings),
            InstanceInitiatedShutdownBehavior=behaviour,
            SecurityGroupIds=[self.group],
            **({"IamInstanceProfile": {"Name": profile}} if profile else {}),
            **({"KeyName": key_name} if key_name else {}),
        )
        return str(made["Instances"][0]["InstanceId"])

    def told(self, instance: str) -> dict[str, Any]:
        (group,) = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
        told: dict[str, Any] = group["Instances"][0]
        return told

    def until(self, instance: str, state: str) -> dict[str, Any]:
        """Ask for its state until it is this one."""
        assert state == "running" or self._aws.machine(instance).ended.wait(120)
        while (told := self.told(instance))["State"]["Name"] != state:
            pass
        return told

    def ssh(self, instance: str, command: str) -> str:
        """What a command prints that the user ``ubuntu`` runs; the host key must be the injected one."""
        address = self.until(instance, "running")["PublicIpAddress"]
        return asyncio.run(self.log_in(address, command))

    async def log_in(self, address: str, command: str, **options: Any) -> str:
        trusted = f"{address} {self.host.public}".encode()
        client = asyncssh.import_private_key(self.key.private)
        async with asyncio.timeout(120):
            while True:
                try:
                    connection = await asyncssh.connect(
                        address,
                        username="ubuntu",
                        known_hosts=trusted,
                        client_keys=[client],
                        config=None,
                        agent_path=None,
                        **options,
                    )
                except (OSError, asyncssh.ConnectionLost):
                    await asyncio.sleep(0.1)  # it boots
                    continue
                async with connection:
                    return str((await connection.run(command)).stdout)


@pytest.fixture
def buyer(aws: Rig) -> Buyer:
    """Whose instances may be reached from here."""
    buyer = Buyer(aws)
    buyer.let_in()
    return buyer


def test_what_user_data_says_is_done_and_the_address_of_the_api_leads_there(aws: Rig, buyer: Buyer) -> None:
    instance = buyer.run(
        bootcmd=["echo early >/boot-told", ["sh", "-c", 'echo "$0" >>/boot-told', "quoted words"]],
        write_files=[{"path": "/etc/mine/secret", "content": "kept\n", "permissions": "0600"}],
        runcmd=["echo late >/late.new && mv /late.new /late"],
        package_update=False,
    )
    told = buyer.ssh(
        instance,
        "whoami; sudo -n whoami; cat /boot-told; sudo stat -c '%a %U' /etc/mine/secret; hostname -I;"
        " while [ ! -e /late ]; do sleep 0.1; done; cat /late",
    ).split("\n")
    assert told[:5] == ["ubuntu", "root", "early", "quoted words", "600 root"]
    assert told[5].strip() == buyer.told(instance)["PrivateIpAddress"]
    assert told[6] == "late"


def test_neighbours_reach_each_other_by_their_private_addresses(aws: Rig, buyer: Buyer) -> None:
    one, other = buyer.run(), buyer.run()
    buyer.ssh(other, "true")
    address = buyer.told(other)["PrivateIpAddress"]
    assert buyer.ssh(one, f"exec 3<>/dev/tcp/{address}/22; head -c 7 <&3") == "SSH-2.0"


def test_an_imported_key_pair_lets_its_owner_in(aws: Rig, buyer: Buyer) -> None:
    buyer.ec2.import_key_pair(KeyName="mine", PublicKeyMaterial=buyer.key.public.encode())
    assert buyer.ssh(buyer.run(key_name="mine"), "echo in") == "in\n"


@pytest.mark.parametrize("rule", [{"network": "203.0.113.0/24"}, {"port": 2222}])
def test_a_security_group_that_lets_others_in_keeps_the_port_closed(aws: Rig, rule: dict[str, Any]) -> None:
    buyer = Buyer(aws)
    buyer.let_in(**rule)
    instance = buyer.run()
    address = buyer.until(instance, "running")["PublicIpAddress"]
    aws.machine(instance).started()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 22))


def test_session_manager_leads_through_a_closed_port_where_the_instance_has_a_profile(
    aws: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    buyer, iam, ssm = Buyer(aws), boto3.client("iam"), boto3.client("ssm")
    iam.create_instance_profile(InstanceProfileName="mine")
    instance, other = buyer.run(profile="mine"), buyer.run()
    asked: Any = {"DocumentName": "AWS-StartSSHSession", "Parameters": {"portNumber": ["22"]}}
    with pytest.raises(ClientError, match="TargetNotConnected"):
        ssm.start_session(Target=instance, **asked)  # it is pending
    for each in (instance, other):
        buyer.until(each, "running")
    with pytest.raises(ClientError, match="TargetNotConnected"):
        ssm.start_session(Target=other, **asked)
    (agent,) = ssm.describe_instance_information()["InstanceInformationList"]
    assert (agent["InstanceId"], agent["PingStatus"]) == (instance, "Online")
    session: dict[str, Any] = {**ssm.start_session(Target=instance, **asked)}
    monkeypatch.setenv("PATH", f"{aws.programs}:{os.environ['PATH']}")
    name, told = "AWS_SSM_START_SESSION_RESPONSE", ("SessionId", "TokenValue", "StreamUrl")
    monkeypatch.setenv(name, json.dumps({key: session[key] for key in told}))
    aws.machine(instance).started()
    request = json.dumps({"Target": instance, **asked})
    command = ["session-manager-plugin", name, "us-east-1", "StartSession", "", request, aws.endpoint]
    assert asyncio.run(buyer.log_in(instance, "hostname", proxy_command=command)).startswith("ip-10-")
    ssm.terminate_session(SessionId=session["SessionId"])


def test_a_machine_reaches_the_rig_with_the_credentials_of_its_role(aws: Rig, buyer: Buyer) -> None:
    boto3.client("iam").create_instance_profile(InstanceProfileName="mine")
    boto3.client("s3").create_bucket(Bucket="data")
    boto3.client("s3").put_object(Bucket="data", Key="one", Body=b"content")
    instance = buyer.run(profile="mine", write_files=[{"path": "/ask.py", "content": ASK}])
    told = buyer.ssh(instance, "python3 /ask.py meta-data/iam/security-credentials/mine").partition("\n")[2]
    key = json.loads(told)["AccessKeyId"]
    signed = f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, Signature=0"
    url = f"{aws.endpoint_inside()}/data/one"
    ask = f"import urllib.request as u; r = u.Request({url!r}, headers={{'Authorization': {signed!r}}}); "
    assert buyer.ssh(instance, f'python3 -c "{ask}print(u.urlopen(r).read().decode())"') == "content\n"


@pytest.mark.parametrize(
    "command", ["shutdown -h now", "shutdown -P +0", "poweroff -f", "shutdown -P +60; shutdown -c; halt"]
)
def test_a_machine_that_shuts_down_is_terminated(aws: Rig, buyer: Buyer, command: str) -> None:
    instance = buyer.run()
    buyer.ssh(instance, "; ".join(f"sudo -n {each}" for each in command.split("; ")))
    told = buyer.until(instance, "terminated")
    assert told["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert not aws.existing()


def test_only_root_shuts_a_machine_down(aws: Rig, buyer: Buyer) -> None:
    instance = buyer.run()
    assert buyer.ssh(instance, "shutdown -h now 2>&1; echo $?") == "shutdown: only root may do that\n1\n"


def test_a_machine_that_was_not_to_be_terminated_is_stopped(aws: Rig, buyer: Buyer) -> None:
    instance = buyer.run(behaviour="stop")
    aws.machine(instance).sh("poweroff")
    buyer.until(instance, "stopped")
    assert aws.existing() == [instance]


def test_a_killed_machine_is_terminated(aws: Rig, buyer: Buyer) -> None:
    instance = buyer.run()
    machine = aws.machine(instance)
    machine.started()
    podman("kill", machine.name)
    buyer.until(instance, "terminated")


def test_terminating_an_instance_kills_its_machine(aws: Rig, buyer: Buyer) -> None:
    instance = buyer.run()
    machine = aws.machine(instance)
    buyer.ec2.terminate_instances(InstanceIds=[instance])
    assert buyer.until(instance, "terminated")["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    aws.reset()
    assert machine.name not in podman("ps", "--all", "--format", "{{.Names}}")


def test_metadata_is_told_to_those_with_a_token_and_a_notice_as_soon_as_it_is_given(aws: Rig, buyer: Buyer) -> None:
    instance = buyer.run(write_files=[{"path": "/ask.py", "content": ASK}])
    spot, rebalance = "meta-data/spot/instance-action", "meta-data/events/recommendations/rebalance"
    assert buyer.ssh(instance, f"python3 /ask.py meta-data/instance-id {spot}").split() == ["401", instance, "404"]
    aws.machine(instance).announce_interruption()
    aws.machine(instance).recommend_rebalance()
    _, action, notice = buyer.ssh(instance, f"python3 /ask.py {spot} {rebalance}").splitlines()
    assert json.loads(action)["action"] == "terminate"
    assert json.loads(action)["time"].endswith("Z")
    assert "noticeTime" in json.loads(notice)
    aws.reclaim(instance)
    assert buyer.until(instance, "terminated")["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_user_data_that_the_rig_does_not_know_is_told_as_a_problem(aws: Rig, buyer: Buyer) -> None:
    instance = buyer.run(power_state={"mode": "poweroff"})
    assert aws.problems == [f"{instance}: the rig does not know the key 'power_state' of a cloud-config"]
    aws.machine(instance).started()
    aws.reset()


CRASH = """
import os, sys
sys.path.insert(0, {tests!r})
from rig import Rig
rig = Rig()
os.environ.update(rig.environment)
import boto3
made = boto3.client("ec2").run_instances(ImageId={image!r}, InstanceType="t3.micro", MinCount=1, MaxCount=1)
machine = rig.machine(made["Instances"][0]["InstanceId"])
machine.started()
print(rig._moto.pid, machine.name, machine.folder, flush=True)
os.kill(os.getpid(), 9)
"""


def test_nothing_outlives_a_process_of_tests_that_is_killed(aws: Rig) -> None:
    """Moto's own process ends with it, and removes the machines."""
    program = CRASH.format(tests=str(Path(__file__).parent), image=IMAGE)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    pid, name, folder = done.stdout.split()
    handle = os.pidfd_open(int(pid))
    assert select.select([handle], [], [], 120)[0]
    os.close(handle)
    assert name not in podman("ps", "--all", "--format", "{{.Names}}")
    assert not Path(folder).exists()
