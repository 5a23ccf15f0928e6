"""The files of the contract: what others wrote is as installed, and ours say what each language needs."""

import re

import pytest
from hatch_build import names

from scripts.vendor_protos import vendored
from tests.support.documents import ROOT

PROTOS = ROOT / "protos"


def test_what_the_contracts_import_is_what_is_installed() -> None:
    """After an update of googleapis-common-protos or protovalidate: `make vendor-protos`."""
    others = {file.relative_to(PROTOS).as_posix() for file in PROTOS.rglob("*.proto")} - set(names(PROTOS))
    found = {name: (PROTOS / name).read_text("utf-8") for name in others}
    assert found == vendored()


@pytest.mark.parametrize("name", names(PROTOS))
def test_a_file_names_its_packages_in_other_languages(name: str) -> None:
    text = (PROTOS / name).read_text("utf-8")
    (package,) = re.findall(r"(?m)^package ([\w.]+);", text)
    _, service, version = package.split(".")
    assert dict(re.findall(r"(?m)^option (\w+) = ([^;]+(?:;\w+\")?);", text)) == {
        "csharp_namespace": f'"Innosystem.{service.capitalize()}.{version.upper()}"',
        "go_package": f'"innosystem/{service}/{version};{service}{version}"',
        "java_multiple_files": "true",
        "java_package": f'"com.{package}"',
    }
