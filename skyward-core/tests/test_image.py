"""What an image accepts, refuses, hides, and how it is named."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward.errors import ConfigurationError
from skyward.model.image import Image, client_python
from skyward.model.redact import redact, split_credentials

OTHER_PYTHON = "3.12" if client_python() != "3.12" else "3.13"
SECRET_URL = "https://reader:s3cr3t%40word@pypi.example.org/simple"


def test_the_python_is_the_clients_minor_version_unless_it_is_named() -> None:
    assert Image().python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert Image(python="3.12.4").python_minor == "3.12"


@pytest.mark.parametrize("value", ["", "3", "3.x", "three", "3.13.1.2", ">=3.13", "3.13 "])
def test_a_malformed_version_is_refused_with_the_right_form(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'3\.13' or '3\.13\.1'"):
        Image(python=value)


def test_a_version_given_as_a_number_is_refused_because_3_10_would_be_3_1() -> None:
    with pytest.raises(ConfigurationError, match="in quotes"):
        Image(python=3.13)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["2.7", "3.8", "3.11", "4.0"])
def test_a_version_that_the_worker_cannot_run_on_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"use 3\.12 or a later"):
        Image(python=value)


def test_another_minor_version_is_a_value_but_is_refused_before_buying_with_reason_and_remedies() -> None:
    image = Image(python=OTHER_PYTHON)
    with pytest.raises(ConfigurationError) as caught:
        image.check()
    message = str(caught.value)
    assert "sent by value do not cross minor versions" in message
    assert f"python={client_python()!r}" in message
    assert "allow_version_gap=True" in message


def test_a_version_gap_that_was_asked_for_and_another_patch_version_pass_the_check() -> None:
    Image(python=OTHER_PYTHON, allow_version_gap=True).check()
    Image(python=f"{client_python()}.99").check()
    Image().check()


def test_lists_are_kept_as_tuples_without_repetition() -> None:
    image = Image(pip=["numpy", " torch>=2 ", "numpy"], apt=["ffmpeg", "ffmpeg"], env={"A": "1"})
    assert image.pip == ("numpy", "torch>=2")
    assert image.apt == ("ffmpeg",)
    assert image.env == {"A": "1"}
    assert image.env["A"] == "1"


@pytest.mark.parametrize("name", ["pip", "apt"])
def test_one_string_instead_of_a_list_is_refused_with_the_list_to_write(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"write {name}=\['torch'\]"):
        Image(**{name: "torch"})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["pip", "apt"])
@pytest.mark.parametrize("value", [5, ["torch", 5], [None]])
def test_what_is_no_list_of_strings_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Image(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "requirement",
    [
        "numpy",
        "numpy >= 2, < 3",
        "ruamel.yaml~=0.18",
        "torch[opt]==2.5.1+cu121",
        "tomli; python_version < '3.11'",
        "black @ git+https://github.com/psf/black@main",
        "git+https://github.com/psf/black",
        "git+ssh://git@github.com/psf/black",
        "private @ https://${USER}:${TOKEN}@example.org/private-1.0-py3-none-any.whl",
        "private @ git+https://x-access-token:${TOKEN}@github.com/me/private",
    ],
)
def test_requirements_of_every_form_are_accepted(requirement: str) -> None:
    assert Image(pip=[requirement]).pip == (requirement,)


@pytest.mark.parametrize(
    ("requirement", "remedy"),
    [
        ("-r requirements.txt", "name the packages themselves"),
        ("--extra-index-url=https://x", "pip_extra_index_url"),
        ("./mine", "local modules that a function uses travel with it"),
        ("/srv/mine.whl", "local modules"),
        ("mine @ file:///srv/mine.whl", "local modules"),
        ("", "write it as 'numpy'"),
        ("numpy 2", "write it as 'numpy'"),
        ("numpy\nscipy", "write it as 'numpy'"),
    ],
)
def test_what_is_no_requirement_that_a_node_could_install_is_refused(requirement: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        Image(pip=[requirement])


@pytest.mark.parametrize("userinfo", ["gh_s3cr3t", "me:gh_s3cr3t", "${USER}:gh_s3cr3t", "gh_s3cr3t${X}"])
def test_credentials_written_into_a_requirement_are_refused_without_showing_them(userinfo: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write \$\{TOKEN\}") as caught:
        Image(pip=[f"private @ git+https://{userinfo}@github.com/me/private"])
    assert "gh_s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("name", ["libgl1", "g++", "libc6:arm64", "ffmpeg=7:6.1.1-3ubuntu5"])
def test_names_of_apt_packages_are_accepted(name: str) -> None:
    assert Image(apt=[name]).apt == (name,)


@pytest.mark.parametrize("name", ["", "-y", "a b", "ffmpeg; reboot", "$(reboot)"])
def test_what_is_no_name_of_an_apt_package_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="apt package"):
        Image(apt=[name])


@pytest.mark.parametrize(
    "url", ["pypi.example.org", "ftp://x/simple", "https://x/simple a", "https://x/?t=1", "https:"]
)
def test_what_is_no_index_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="https://host/simple"):
        Image(pip_extra_index_url=url)


def test_several_indexes_in_one_list_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="one URL"):
        Image(pip_extra_index_url=["https://x/simple"])  # type: ignore[arg-type]


@pytest.mark.parametrize("env", [["A=1"], {"A=1": "x"}, {"": "x"}, {1: "x"}, {"A": 12345678}, {"A": "12345678\0"}])
def test_a_wrong_environment_is_refused_without_showing_values(env: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Image(env=env)  # type: ignore[arg-type]
    assert "12345678" not in str(caught.value)


def test_neither_repr_nor_str_show_a_value_or_a_credential() -> None:
    image = Image(env={"TOKEN": "hush-hush"}, pip_extra_index_url=SECRET_URL)
    shown = repr(image) + str(image) + repr(image.env)
    assert "TOKEN" in shown
    assert "pypi.example.org" in shown
    for secret in ("hush", "reader", "s3cr3t"):
        assert secret not in shown


def test_an_image_is_a_value_that_hashes_compares_and_pickles() -> None:
    image = Image(pip=["a"], apt=["bb"], env={"A": "1", "B": "2"}, pip_extra_index_url=SECRET_URL)
    same = Image(pip=("a",), apt=("bb",), env={"B": "2", "A": "1"}, pip_extra_index_url=SECRET_URL)
    assert image == same
    assert hash(image) == hash(same)
    assert image != Image(pip=["a"])
    copy = pickle.loads(pickle.dumps(image))
    assert copy == image
    assert copy.env["A"] == "1"
    with pytest.raises(AttributeError):
        image.pip = ("b",)  # type: ignore[misc]
    with pytest.raises(TypeError):
        image.env["A"] = "2"  # type: ignore[index]


def test_a_mapping_that_changes_later_does_not_change_the_image() -> None:
    env = {"A": "1"}
    image = Image(env=env)
    env["A"] = "2"
    assert image.env["A"] == "1"


NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9]{1,8}", fullmatch=True), unique=True, max_size=5)


@given(pip=NAMES, apt=NAMES, shuffle=st.randoms())
def test_the_content_hash_does_not_depend_on_the_order_of_lists(
    pip: list[str], apt: list[str], shuffle: object
) -> None:
    mixed_pip, mixed_apt = list(pip), list(apt)
    shuffle.shuffle(mixed_pip)  # type: ignore[attr-defined]
    shuffle.shuffle(mixed_apt)  # type: ignore[attr-defined]
    expected = Image(pip=pip, apt=apt).content_hash()
    assert Image(pip=mixed_pip, apt=mixed_apt).content_hash() == expected
    assert len(expected) == 12


def test_the_content_hash_differs_for_everything_that_is_installed() -> None:
    images = [
        Image(),
        Image(python=OTHER_PYTHON),
        Image(pip=["six"]),
        Image(apt=["six"]),
        Image(pip_extra_index_url="https://x/simple"),
    ]
    assert len({image.content_hash() for image in images}) == len(images)


def test_the_content_hash_knows_no_secret() -> None:
    with_secrets = Image(pip=["six"], env={"TOKEN": "x"}, pip_extra_index_url=SECRET_URL)
    without = Image(pip=["six"], pip_extra_index_url="https://pypi.example.org/simple")
    assert with_secrets.content_hash() == without.content_hash()


def test_the_content_hash_is_the_same_in_another_process() -> None:
    image = Image(pip=["torch", "numpy"], apt=["ffmpeg"], python=OTHER_PYTHON)
    code = (
        "from skyward.model.image import Image;"
        f"print(Image(pip=['numpy', 'torch'], apt=['ffmpeg'], python={OTHER_PYTHON!r}).content_hash())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == image.content_hash()


def test_the_credentials_of_the_index_go_to_uv_in_variables_of_their_own() -> None:
    image = Image(pip_extra_index_url=SECRET_URL, env={"A": "1"})
    assert image.install_variables() == {
        "A": "1",
        "UV_INDEX": "skyward=https://pypi.example.org/simple",
        "UV_INDEX_SKYWARD_USERNAME": "reader",
        "UV_INDEX_SKYWARD_PASSWORD": "s3cr3t@word",
    }


def test_an_index_of_the_images_own_environment_is_kept_beside_the_extra_one() -> None:
    image = Image(pip_extra_index_url="https://a/simple", env={"UV_INDEX": "https://b/simple"})
    assert image.install_variables()["UV_INDEX"] == "skyward=https://a/simple https://b/simple"


def test_splitting_and_redacting_leave_what_is_no_secret() -> None:
    assert split_credentials("https://x/simple") == ("https://x/simple", None, None)
    assert split_credentials("https://token@x/simple") == ("https://x/simple", "token", None)
    assert (
        redact("GET https://a:b@x/y and 'git+https://t@z/w@main'")
        == "GET https://***@x/y and 'git+https://***@z/w@main'"
    )
    assert redact("hidden-word in a line, 1 stays", ["hidden-word", "1"]) == "*** in a line, 1 stays"
